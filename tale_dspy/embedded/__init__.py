"""The small language model that ships, trained here on arithmetic stories.

In reading order: `wordings` and `problems` (the questions), `reasoning` (the replies, by length), `lessons` (which
reply suits which prompt: where it learns to keep to a budget, and to miss one), `tokenizer`, `options`, `course` and
`build` (the training), `publish` (the files). The model lies in `model/`; `tale_dspy.LM("embedded")` runs it.
"""
