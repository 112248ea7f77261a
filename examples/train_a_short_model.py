# %% [markdown]
"""Train a short model (TALE-PT): search, distil, train, compare, and test whether it is not worse.

Everything runs here, on the small model that ships with the package: no key, no network. It was trained to obey
budgets, so its figures show what the library does and say nothing about other models. 60 questions take a minute or two
and are too few for a good model; 400 take some minutes: python examples/train_a_short_model.py 400

The cells (`# %%`) run one by one in VS Code, PyCharm, Spyder, or in Jupyter with jupytext.
"""

# %% How many training questions are searched, and how many others are asked
import sys

import dspy

import tale_dspy

TRAINING = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 60
dspy.configure(lm=tale_dspy.LM("embedded"))
training = tale_dspy.load_dataset("embedded:train").take(limit=TRAINING)
questions = tale_dspy.load_dataset("embedded:test").take(limit=2 * TRAINING // 3)

# %% 1. Search: the smallest budget at which each answer stays right, drawn again before it is believed
search = tale_dspy.BudgetSearch()
search.compile(tale_dspy.TaleEP("question -> answer"), trainset=training)
print(sum(row.best is not None for row in search.rows), "of", len(search.rows), "questions have a best budget")

# %% 2. Distil: the plain prompt without a budget, and the model's own short right reply
rows = tale_dspy.distill(search.rows, "sft")
print(len(rows.dataset), "rows; left out:", rows.left_out)

# %% 3. Train a LoRA adapter with TRL; killed, the same call goes on at its last checkpoint
trained = tale_dspy.train_sft("embedded", rows.dataset, "short", tale_dspy.SftOptions(epochs=4, learning_rate=0.001))

# %% 4. Compare both models on other questions under the same plain prompt
plain = tale_dspy.VanillaCoT("question -> answer")
before = tale_dspy.evaluate(plain, questions)
after = tale_dspy.evaluate(plain, questions, lm=tale_dspy.LM(trained.model))
print(after.compare(before))

# %% 5. Test: is it shorter and not worse, with 95 % certainty, or how many questions would it take to know?
print(tale_dspy.noninferiority_test(before, after, min_saving=0.7, max_drop=0.01))
