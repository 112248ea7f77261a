"""From searched budgets to a model that is short by itself.

This is TALE-PT (paper, section 5.3).

In reading order: `near_duplicates`, `rendering` and `distill` (a search -> training rows), `options` (what decides a
training), `rows` and `wording` (rows -> the tokens the trainer gets), `plan` (what can be said before any weight is
loaded), `folder` and `card` (what is written), `trainer` (what SFT and DPO share), `sft`, `dpo`, `grpo`, `merge`.
"""
