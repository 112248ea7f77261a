"""A process that searches until somebody kills it."""

import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

from elastic_replies import TRAIN

import tale_dspy
from tale_dspy.optimizers.budget_search import BudgetSearch


def main() -> None:
    url, out = sys.argv[1:]
    lm = tale_dspy.LM("openai/x", api_base=url, api_key="k", engine="auto", cache=False)
    search = BudgetSearch(sampler="halving", repeats=0, lm=lm, out=out, concurrency=3)
    search.compile(tale_dspy.TaleEP("question -> answer"), trainset=TRAIN)


if __name__ == "__main__":
    main()
