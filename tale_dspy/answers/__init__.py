"""Find the final answer in a reply and compare it with the gold.

Every accuracy this library reports is judged here.

No reply makes anything here raise or take longer than two seconds on a machine that is not busy, in any thread; threads
that compare mathematics at once wait for one another.

Reading order: `normalize`, `number_words`, `number_forms` and `numbers` (what a short text says), `choices`, `kinds`;
`thought_tags` and `brackets`; then `finding` with `json_reply`, `marked`, `stated`, `corrections`, `fallback`,
`denials`, `asides` and `remarks` (where in a reply the answer stands), `comparing` with `polarity` (yes and no) and
`intervals`, and `symbolic` with `symbolic_child` (mathematics). `budget_estimate` reads an estimator's reply with the
same readers, `gold` GSM8K's golds; `paper_judge` is the judge of the paper's figures.
"""

from tale_dspy.answers.comparing import answers_equal, judge
from tale_dspy.answers.finding import find_answer
from tale_dspy.answers.gold import gold_from_gsm8k
from tale_dspy.answers.kinds import Kind, kind_of
from tale_dspy.answers.paper_judge import paper_judge
from tale_dspy.answers.thought_tags import SplitReply, split_thought

__all__ = [
    "Kind",
    "SplitReply",
    "answers_equal",
    "find_answer",
    "gold_from_gsm8k",
    "judge",
    "kind_of",
    "paper_judge",
    "split_thought",
]
