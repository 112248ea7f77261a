"""Budget a program that already exists, in one line.

python examples/budget_a_program.py openai/gpt-4o-mini
"""

import sys

import dspy

import tale_dspy


class Support(dspy.Module):
    """A program as you may have it: a router and an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.router = dspy.ChainOfThought("question -> department")
        self.answer = dspy.ChainOfThought("department, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        department = self.router(question=question).department
        return self.answer(department=department, question=question)


dspy.configure(lm=tale_dspy.LM(sys.argv[1] if len(sys.argv) > 1 else "openai/gpt-4o-mini"))
program = tale_dspy.budgeted(Support(), exclude=["router"])
with tale_dspy.track(max_total_output_tokens=20_000) as ledger:
    prediction = program(question="My invoice lists 3 seats at $14 each but I was charged $56. What is wrong?")
print(prediction.answer)
print(ledger)
