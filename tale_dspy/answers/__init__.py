"""Find the final answer in a reply and compare it with the gold: the judge of every accuracy this library reports.

No reply makes anything here raise or take longer than two seconds, in any thread; threads that compare mathematics at
once wait for one another.

Reading order: `typography` and `quantity` (what a short text says), `choices`, `kinds`, then `finding` with `marks`,
`statements` and `unmarked` (where in a reply the answer stands), `comparing`, and `symbolic` with `symbolic_child`
(mathematics). `gold` reads GSM8K's golds; `authors` is the paper's own judge, kept for its figures.
"""

from tale_dspy.answers.comparing import answers_equal, judge
from tale_dspy.answers.finding import find_answer
from tale_dspy.answers.gold import gold_from_gsm8k
from tale_dspy.answers.kinds import Kind, kind_of
from tale_dspy.answers.paper_judge import paper_judge

__all__ = ["Kind", "answers_equal", "find_answer", "gold_from_gsm8k", "judge", "kind_of", "paper_judge"]
