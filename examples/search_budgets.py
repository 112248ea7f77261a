"""Search the best budget of each question, learn from it, and see what that saves on other questions.

Asks the small model that ships with the package: no key, no download, no network.

python examples/search_budgets.py
"""

import dspy

import tale_dspy

dspy.configure(lm=tale_dspy.LM("embedded"))
questions = tale_dspy.load_dataset("embedded:train").take(limit=60)
others = tale_dspy.load_dataset("embedded:test").take(limit=40)

search = tale_dspy.BudgetSearch()
search.compile(tale_dspy.TaleEP("question -> answer"), trainset=questions).save("learned.json")
for row in search.rows[:5]:
    print(row.question, row.best.budget if row.best else row.reason)

learned = tale_dspy.evaluate(tale_dspy.load("learned.json"), others)
print(learned.compare(tale_dspy.evaluate(tale_dspy.VanillaCoT("question -> answer"), others)))
