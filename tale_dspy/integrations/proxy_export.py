"""Write the folder that starts a LiteLLM proxy with a program's budgets."""

import shutil
from pathlib import Path

from tale_dspy.errors import UsageError
from tale_dspy.integrations.policy import EstimatorPolicy, FixedPolicy, ModelEstimatePolicy, as_policy
from tale_dspy.output_paths import check_file, check_folder
from tale_dspy.programs.saving import load

_PROXY = "folder of a LiteLLM proxy"
_FILES = ("tale_hook.py", "config.yaml", "start.sh", "README.md", "policy.json")

_HOOK = '''"""The callback that LiteLLM's proxy loads; `config.yaml` names it."""

from pathlib import Path

from tale_dspy.integrations.litellm_proxy import TokenBudget

tale = TokenBudget(Path(__file__).with_name("policy.json"), mode="auto", estimate="{estimate}", holdout=0.0)
'''

_CONFIG = """# Any model of LiteLLM's by its full name (openai/gpt-5-mini), with its provider's key in the environment.
model_list:
  - model_name: "*"
    litellm_params:
      model: "*"
litellm_settings:
  callbacks: [tale_hook.tale, prometheus]
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
"""

_START = """#!/bin/sh
# The loopback interface only: put TLS and your own access rules in front of it before others may reach it.
# Idle connections stay open for longer than clients keep them (90 s at most by their defaults): one that the proxy
# closes just as a client sends its next request on it fails that request.
cd "$(dirname "$0")" && exec litellm --config config.yaml --host 127.0.0.1 --port "${PORT:-4000}" \\
    --keepalive_timeout 120
"""

_README = """# A LiteLLM proxy with measured token budgets

    pip install "tale-dspy[proxy]"                               # litellm 1.83.10 or newer: older proxies have CVEs
    export LITELLM_MASTER_KEY="sk-$(openssl rand -hex 32)" OPENAI_API_KEY=...
    sh start.sh                                                  # http://127.0.0.1:4000, metrics at /metrics

Budgets: BUDGETS
Clients give the master key as their API key. The answer's headers `x-tale-budget`, `x-tale-effort` or `x-tale-skipped`
say what was done; `"metadata": {"tale": "off"}` in a request leaves it alone, a number of tokens sets its budget.
`policy.json` may be replaced while the proxy runs; `holdout=0.02` in `tale_hook.py` lets the metrics tell the saving.
"""


def write_proxy_folder(source: Path, out: Path) -> list[Path]:
    """Write the files of the proxy.

    They are `policy.json`, `tale_hook.py`, `config.yaml`, `start.sh` and `README.md`.

    Args:
        source: The saved program; it is copied, so it must not hold what the proxy's machine may not see.
        out: The folder; an earlier export in it is replaced.

    Returns:
        The files.

    Raises:
        StateError: If the source cannot be loaded.
        UsageError: If the program gives no budgets, or another file of a name that is needed is there.
    """
    policy = as_policy(load(source))
    if isinstance(policy, ModelEstimatePolicy):
        budgets = "estimated by the model, in an extra request before each question, as in the paper (TALE-EP)."
    elif isinstance(policy, FixedPolicy):
        budgets = f"{policy.budget} for every question."
    elif isinstance(policy, EstimatorPolicy):
        budgets = f"from the question's text, without a call. {_guarantee_sentence(policy.guarantee)}".rstrip()
    else:
        raise UsageError(f"{source} gives no budgets that a proxy can send")
    _check_folder(out, source)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "policy.json").exists() or not source.samefile(out / "policy.json"):
        shutil.copyfile(source, out / "policy.json")
    files = {
        "tale_hook.py": _HOOK.format(estimate="call" if isinstance(policy, ModelEstimatePolicy) else "never"),
        "config.yaml": _CONFIG,
        "start.sh": _START,
        "README.md": _README.replace("BUDGETS", budgets),
    }
    for name, text in files.items():
        (out / name).write_text(text, encoding="utf-8")
    return [out / name for name in ("policy.json", *files)]


def _check_folder(out: Path, source: Path) -> None:
    """Refuse a folder with files of the same names that no export wrote.

    An example is the README of a project.
    """
    check_folder(out, _PROXY)
    hook = out / _FILES[0]
    check_file(hook, _PROXY, b"tale_dspy.integrations.litellm_proxy")
    for name in () if hook.exists() else _FILES:
        if (out / name).resolve() != source.resolve():
            check_file(out / name, _PROXY)


def _guarantee_sentence(guarantee: str | None) -> str:
    """Return the calibration's guarantee as a sentence, with what it presupposes."""
    if guarantee is None:
        return ""
    return f"Calibrated: {guarantee}, with the model, prompts and temperature it was measured with."
