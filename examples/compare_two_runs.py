"""Evaluate two programs on one file under a spend cap, and print what the budget saved.

python examples/compare_two_runs.py questions.jsonl openai/gpt-4o-mini
"""

import sys

import tale_dspy

data = tale_dspy.load_dataset(sys.argv[1])
lm = tale_dspy.LM(sys.argv[2] if len(sys.argv) > 2 else "openai/gpt-4o-mini")
options = {"lm": lm, "max_total_output_tokens": 200_000}
vanilla = tale_dspy.evaluate(tale_dspy.VanillaCoT(data.signature), data, out="runs/vanilla", **options)
budgeted = tale_dspy.evaluate(tale_dspy.TaleEP(data.signature), data, out="runs/tale-ep", **options)
print(budgeted.compare(vanilla))
