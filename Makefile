# Two commands set everything up by themselves: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

DOCS := $(VENV)/.docs

.PHONY: docs demo test coverage test-integrations test-proxy-and-mlflow test-inspect check bench clean

# One stamp a kind of set-up: it is done again when what it depends on has changed.
$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[report,local]'
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) -e '.[dev]'
	touch $@

demo: $(VENV)/.run
	$(BIN)/tale demo

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2

# Apart from `test`: under a tracer CPython 3.11 now and then fails to start a thread ("Cannot install a trace function
# while another trace function is being installed").
coverage: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --cov --cov-report=term --cov-fail-under=90

# What LiteLLM's proxy and inspect_ai pin excludes what the rest pins, so each has an environment of its own.
$(VENV)-%/.done: pyproject.toml constraints-%.txt
	$(PYTHON) -m venv $(VENV)-$*
	$(VENV)-$*/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-$*.txt -e '.[test-$*]'
	touch $@

# A client in another language, for the tests of the proxy.
$(VENV)-integrations/node_modules/openai: $(VENV)-integrations/.done
	npm install --silent --no-audit --no-fund --prefix $(VENV)-integrations openai@6.49.0
	touch $@

# Two environments, two processes: `make -j 2 test-integrations` runs them side by side.
test-integrations: test-proxy-and-mlflow test-inspect

test-proxy-and-mlflow: $(VENV)-integrations/node_modules/openai
	$(VENV)-integrations/bin/python -m pytest -q tests/integrations

test-inspect: $(VENV)-inspect/.done
	$(VENV)-inspect/bin/python -m pytest -q tests/integrations/test_inspect_ai.py tests/integrations/test_inspect_export.py

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/throughput.py

clean:
	rm -rf $(VENV) $(VENV)-integrations $(VENV)-inspect build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(DOCS): $(VENV)/.dev
	$(PIP) -e '.[docs]'
	touch $@

docs: $(DOCS)
	$(BIN)/mkdocs build --strict
