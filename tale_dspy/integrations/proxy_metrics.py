"""What budgets spent and saved in the proxy.

The figures are Prometheus counters beside LiteLLM's own at `/metrics`.

The saving is the difference to the questions held out: `TokenBudget(holdout=0.02)`. In PromQL:

    sum(tale_output_tokens_total{group="holdout"}) / sum(tale_requests_total{group="holdout"})
      - sum(tale_output_tokens_total{group="budgeted"}) / sum(tale_requests_total{group="budgeted"})
"""

import logging
import math
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from tale_dspy.integrations.proxy_decision import skip_reason

if TYPE_CHECKING:
    from prometheus_client import Counter

logger = logging.getLogger(__name__)


class ProxyMetrics:
    """The counters of the proxy.

    Without the package `prometheus-client` nothing is counted, and the log says so.
    """

    def __init__(self) -> None:
        self._counters = _registered_counters()

    def count(self, model: str, stored: Mapping[str, object], logged: Mapping[str, object]) -> None:
        """Count one answered request.

        Args:
            model: The model group that the request names.
            stored: What was decided of it (`proxy_decision.stored_decision`).
            logged: LiteLLM's standard logging object, for the tokens it spent.
        """
        group = skip_reason(stored) or "budgeted"
        amounts = {
            "requests": 1,
            "output_tokens": logged.get("completion_tokens"),
            "prompt_tokens": logged.get("prompt_tokens"),
            "budget_tokens": stored.get("tokens"),
            "cost_usd": logged.get("response_cost"),
        }
        for name, counter in self._counters.items():
            amount = amounts[name]
            if isinstance(amount, int | float) and 0 <= amount < math.inf:  # a counter refuses any other amount
                counter.labels(model=model, group=group).inc(amount)


@cache
def _registered_counters() -> "dict[str, Counter]":
    """Return the counters; one set a process, since Prometheus has one registry."""
    try:
        from prometheus_client import Counter
    except ImportError:
        logger.warning("no metrics: pip install prometheus-client")
        return {}
    meanings = {
        "requests": "Answered requests.",
        "output_tokens": "Output tokens they spent, thinking included.",
        "prompt_tokens": "Prompt tokens they spent.",
        "budget_tokens": "Tokens of the budgets in their prompts.",
        "cost_usd": "What they cost, in dollars, as LiteLLM prices them.",
    }
    return {name: Counter(f"tale_{name}", text, ["model", "group"]) for name, text in meanings.items()}
