"""A new program: estimate a budget, reason within it, print the receipt.

python examples/new_program.py openai/gpt-4o-mini
"""

import sys

import dspy

import tale_dspy

dspy.configure(lm=tale_dspy.LM(sys.argv[1] if len(sys.argv) > 1 else "openai/gpt-4o-mini"))
program = tale_dspy.TaleEP("question -> answer: int", floor=10, ceiling=400)
prediction = program(question="A robe takes 2 bolts of blue fiber and half that much white. How many bolts in all?")
print(prediction.answer)
print(tale_dspy.receipt(prediction))
