"""What is counted of the requests of a proxy."""

from prometheus_client import REGISTRY

from tale_dspy.integrations.proxy_metrics import ProxyMetrics


def count(name: str, group: str) -> float | None:
    return REGISTRY.get_sample_value(f"tale_{name}_total", {"model": "test-model", "group": group})


def test_requests_are_counted_by_what_was_decided() -> None:
    metrics = ProxyMetrics()
    logged = {"completion_tokens": 40, "prompt_tokens": 12, "response_cost": 0.25}
    for _ in range(3):
        metrics.count("test-model", {"api": "chat", "tokens": 50, "effort": None}, logged)
    ProxyMetrics().count("test-model", {"skipped": "holdout"}, {**logged, "completion_tokens": 90})
    metrics.count("test-model", {"skipped": "tools"}, {"completion_tokens": None})

    assert [count(name, "budgeted") for name in ("requests", "output_tokens", "prompt_tokens", "budget_tokens")] == [
        3,
        120,
        36,
        150,
    ]
    assert count("cost_usd", "budgeted") == 0.75
    assert (count("requests", "holdout"), count("output_tokens", "holdout")) == (1, 90)
    assert (count("requests", "tools"), count("output_tokens", "tools")) == (1, None)


def test_an_amount_that_is_none_leaves_the_others_counted() -> None:
    logged = {"completion_tokens": -1, "prompt_tokens": 12, "response_cost": float("nan")}
    ProxyMetrics().count("test-model", {"skipped": "no-policy"}, logged)

    names = ("requests", "prompt_tokens", "output_tokens", "cost_usd")
    assert [count(name, "no-policy") for name in names] == [1, 12, None, None]
