"""What a run says once, while it can still be stopped.

It warns of replies that skip their reasoning, and of a metric that only fails.
"""

import logging
from collections.abc import Sequence

from tale_dspy.runs.describe import metric_name
from tale_dspy.runs.record import Record
from tale_dspy.runs.scoring import METRIC_ERROR, Metric
from tale_dspy.runs.summary import RunSummary

logger = logging.getLogger(__name__)

SKIP_WINDOW = 30
"""Replies after which a run says that most of them skip their reasoning."""
METRIC_WINDOW = 5
"""Answers after which a run says that its metric has failed on every one."""


class EarlyWarnings:
    """Say once each what makes a run worthless.

    Args:
        metric: The run's metric; None compares answers, and never raises.
        summary: That of the run, up to date whenever `check` is called.
    """

    def __init__(self, metric: Metric | None, summary: RunSummary) -> None:
        self.metric, self.summary = metric, summary
        self._judged = 0
        self._has_checked_skipping = False

    def check(self, records: Sequence[Record]) -> None:
        """Look at the records that were just finished, and warn where it is time to."""
        self._warn_of_skipping()
        if self.metric is not None and self._judged < METRIC_WINDOW:
            self._warn_of_metric(self.metric, records)

    def _warn_of_metric(self, metric: Metric, records: Sequence[Record]) -> None:
        for record in records:
            if record.error is None:
                self._judged = METRIC_WINDOW  # it judges: there is nothing to say
                return
            self._judged += record.error.startswith(METRIC_ERROR)
            if self._judged == METRIC_WINDOW:
                logger.warning(
                    "the metric %s has failed on each of the first %d answers, which count as errors: %s",
                    metric_name(metric),
                    METRIC_WINDOW,
                    record.error.removeprefix(METRIC_ERROR),
                )
                return

    def _warn_of_skipping(self) -> None:
        """Warn once, after `SKIP_WINDOW` replies, that most skip the reasoning."""
        counts = self.summary.counts
        reasoning_calls, skipped = counts["reasoning_asked"], counts["reasoning_skipped"]
        if self._has_checked_skipping or reasoning_calls < SKIP_WINDOW:
            return
        self._has_checked_skipping = True
        if 2 * skipped > reasoning_calls:
            logger.warning(
                "the %s makes this model skip its reasoning: %d of %d replies have none; accuracy so far %.0f %%",
                "budget" if counts["budgets"] else "prompt",
                skipped,
                reasoning_calls,
                100 * self.summary.outcomes["correct"] / self.summary.records,
            )
