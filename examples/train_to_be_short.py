"""TALE-PT: search, distil, train an adapter, and ask the trained model without any budget.

Trains the small model that ships with the package, for a minute; give a few hundred questions and a real model for use.

python examples/train_to_be_short.py
"""

import dspy

import tale_dspy

dspy.configure(lm=tale_dspy.LM("embedded"))
questions = tale_dspy.load_dataset("embedded:train").take(limit=60)
others = tale_dspy.load_dataset("embedded:test").take(limit=40)

search = tale_dspy.BudgetSearch()
search.compile(tale_dspy.TaleEP("question -> answer"), trainset=questions)
rows = tale_dspy.distill(search.rows, "sft")
trained = tale_dspy.train_sft("embedded", rows.dataset, "short")

plain = tale_dspy.VanillaCoT("question -> answer")
before = tale_dspy.evaluate(plain, others)
after = tale_dspy.evaluate(plain, others, lm=tale_dspy.LM(trained.model))
print(after.compare(before))
