"""Many questions at once with asyncio; the ledger is right all the same.

python examples/async_calls.py openai/gpt-4o-mini
"""

import asyncio
import sys

import dspy

import tale_dspy

program = tale_dspy.TaleEP("question -> answer")


async def main() -> None:
    questions = [f"What is {n} * {n + 1}?" for n in range(11, 16)]
    with tale_dspy.track() as ledger:
        predictions = await asyncio.gather(*(program.acall(question=q) for q in questions))
    for question, prediction in zip(questions, predictions, strict=True):
        print(question, prediction.answer, f"({prediction.output_tokens} tokens)")
    print(ledger)


dspy.configure(lm=tale_dspy.LM(sys.argv[1] if len(sys.argv) > 1 else "openai/gpt-4o-mini"))
asyncio.run(main())
