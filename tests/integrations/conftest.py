"""Some integrations need environments of their own: LiteLLM's proxy pins an older `rich`, inspect_ai a newer `openai`.

`make test-integrations` runs all tests of this folder there; elsewhere those that need the packages are not collected.
"""

from importlib.util import find_spec

NEEDED = {
    "test_proxy_control.py": "mcp",
    "test_proxy_metrics.py": "prometheus_client",
    "test_litellm_proxy_served.py": "apscheduler",
    "test_inspect_ai.py": "inspect_ai",
    "test_inspect_export.py": "inspect_ai",
    "test_mlflow_export.py": "mlflow",
    "test_spans_exported.py": "mlflow",
}
collect_ignore = [name for name, package in NEEDED.items() if find_spec(package) is None]
