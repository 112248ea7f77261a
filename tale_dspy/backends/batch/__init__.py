"""Batch APIs of providers.

They take many requests as one file and answer within a day, at half the price.

`interception` catches a request where an engine would send it, so that its body is the one that is sent without a
batch. `client` says what a provider's batch API must do, `openai_format` and `anthropic_format` do it. Which requests
go into one batch, and when, is decided in `tale_dspy.runs.batch_rounds`.
"""
