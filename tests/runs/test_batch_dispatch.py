"""A round of batches: within the provider's limits, split where too many tokens are enqueued."""

from pathlib import Path

import pytest
from batched import batched_run

import tale_dspy.backends.batch.openai_format as openai_format
from tale_dspy.backends.batch.client import BatchLimits
from tale_dspy.errors import BackendError, BatchWaiting
from tale_dspy.testing.batches import BatchFaults, BatchServer


def test_a_round_is_cut_at_the_limits_of_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_format.OpenAIBatchClient, "limits", BatchLimits(7, 1_000_000))
    with BatchServer("Answer: [[4]]") as server:
        batched_run(server, 20, tmp_path, program="cot")
        assert server.batch_stats.batches == 3 and server.batch_stats.requests == 20
    monkeypatch.setattr(openai_format.OpenAIBatchClient, "limits", BatchLimits(1000, 2_000))
    with BatchServer("Answer: [[4]]") as server:
        batched_run(server, 10, tmp_path / "b", program="cot")
        assert server.batch_stats.batches > 3 and server.batch_stats.paid_calls == 10


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_too_many_enqueued_tokens_are_met_by_smaller_batches(tmp_path: Path, provider: str) -> None:
    with BatchServer("Answer: [[4]]", batch_faults=BatchFaults(token_limit=400, delay=0.05)) as server:
        run = batched_run(server, 12, tmp_path, program="cot", provider=provider)
        stats = server.batch_stats
    assert run.summary["n"] == 12 and stats.over_limit > 0
    assert stats.batches > 1 and stats.paid_calls == 12 and max(stats.custom_ids.values()) == 1


def test_a_limit_below_one_request_ends_the_run(tmp_path: Path) -> None:
    with (
        BatchServer("Answer: [[4]]", batch_faults=BatchFaults(token_limit=3)) as server,
        pytest.raises(BackendError, match="takes not even one request"),
    ):
        batched_run(server, 2, tmp_path, program="cot")


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_batch_that_the_provider_knows_no_more_is_not_paid_again_unasked(tmp_path: Path, provider: str) -> None:
    with BatchServer("Answer: [[4]]", batch_faults=BatchFaults(delay=3600)) as server:
        with pytest.raises(BatchWaiting):
            batched_run(server, 3, tmp_path, program="cot", provider=provider, batch_wait=0)
        server.forget_batches()
        server.batch_faults = BatchFaults()
        with pytest.raises(BackendError, match=r"does not know batch batch_\d+ .* delete the lines of tale-\w+ from"):
            batched_run(server, 3, tmp_path, program="cot", provider=provider)
        assert server.batch_stats.batches == 1
        (tmp_path / "batches.jsonl").write_text("")
        assert batched_run(server, 3, tmp_path, program="cot", provider=provider).summary["n"] == 3
