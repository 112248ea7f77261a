# Two commands set everything up by themselves: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-integrations check bench clean

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
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --cov --cov-report=term --cov-fail-under=90

# LiteLLM's proxy wants an older `rich` than the rest, so what needs it has an environment of its own.
$(VENV)-integrations/.done: pyproject.toml constraints-integrations.txt
	$(PYTHON) -m venv $(VENV)-integrations
	$(VENV)-integrations/bin/python -m pip install --quiet --disable-pip-version-check \
		-c constraints-integrations.txt -e '.[integrations]'
	touch $@

test-integrations: $(VENV)-integrations/.done
	$(VENV)-integrations/bin/python -m pytest -q tests/integrations

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/throughput.py

clean:
	rm -rf $(VENV) $(VENV)-integrations build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
