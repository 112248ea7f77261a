"""A trajectory keeps to its budget on a scripted agent that thinks by effort word, and its answers do not suffer."""

import asyncio
import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import pytest

import tale_dspy
from tale_dspy import SignatureError, UsageError, budgeted, receipt
from tale_dspy.programs.budgeted_react import BudgetedReAct, StepCosts, TrajectoryBudget
from tale_dspy.testing import EffortReply, Reply, Request, ScriptedServer, word_problems

BANK = {row["question"]: row["answer"] for row in word_problems(60)}
QUESTIONS = list(BANK)[:40]


def lookup(part: int) -> str:
    """Look a part of the problem up."""
    return f"part {part} is known"


class ScriptedAgent:
    """Looks two to four parts up, then finishes and answers; thinks before each step as `EffortReply` does."""

    def __init__(self, *, spread: float = 0.0, seed: int = 0) -> None:
        self.model = EffortReply(BANK, default="medium", seed=seed)
        self.spread = spread
        self.chance = random.Random(seed)

    def __call__(self, request: Request) -> Reply:
        question = self.model.right.find(request.prompt) or ""
        reply = self.model(request)
        if reply.text is None:
            return reply
        looked_up = len(re.findall(r"part \d+ is known", request.prompt))
        if "next_tool_name" not in request.prompt:
            answer = re.findall(r"(\d+)", reply.text)[-1]
            text = (
                f"[[ ## reasoning ## ]]\nAll parts are known.\n\n[[ ## answer ## ]]\n{answer}\n\n[[ ## completed ## ]]"
            )
        else:
            wanted = 2 + len(question) % 3
            tool, args = ("lookup", {"part": looked_up}) if looked_up < wanted else ("finish", {})
            text = (
                f"[[ ## next_thought ## ]]\nNext.\n\n[[ ## next_tool_name ## ]]\n{tool}\n\n"
                f"[[ ## next_tool_args ## ]]\n{json.dumps(args)}\n\n[[ ## completed ## ]]"
            )
        thought = len((reply.reasoning or "").split())
        return Reply(text, reasoning=reply.reasoning, completion_tokens=thought + len(text.split()))


def run(program: Any, questions: list[str], *, asynchronous: bool = False) -> list[Any]:
    with ScriptedServer(ScriptedAgent()) as server:
        lm = tale_dspy.LM("openai/gpt-5", api_base=server.url, api_key="any", engine="auto", cache=False)
        with dspy.context(lm=lm, adapter=dspy.ChatAdapter(use_json_adapter_fallback=False)):
            if asynchronous:
                return [asyncio.run(program.acall(question=q)) for q in questions]
            return [program(question=q) for q in questions]


def agent() -> Any:
    return dspy.ReAct("question -> answer", tools=[lookup], max_iters=8)


def spent(pred: Any) -> int:
    return receipt(pred).output_tokens or 0


def right(preds: list[Any], questions: list[str]) -> int:
    return sum(pred.answer == BANK[q] for pred, q in zip(preds, questions, strict=True))


@pytest.mark.parametrize("budget", [300, 500, 900])
def test_95_percent_of_trajectories_stay_within_a_tenth_of_the_budget(budget: int) -> None:
    preds = run(budgeted(agent(), total_budget=budget), QUESTIONS)
    assert sum(spent(pred) <= 1.1 * budget for pred in preds) >= 0.95 * len(preds)


@pytest.mark.parametrize("budget", [300, 500, 900])
def test_answers_are_not_worse_than_with_the_same_cap_as_max_tokens(budget: int) -> None:
    class Capped(dspy.Module):  # type: ignore[misc]
        """The same agent, each call capped at what is left."""

        def __init__(self) -> None:
            super().__init__()
            self.agent = budgeted(agent(), total_budget=budget)
            for step in (self.agent.react, self.agent.extract):
                step.predict.config["reasoning_effort"] = "medium"  # the model's own: the word of a call is kept

        def forward(self, **kwargs: Any) -> Any:
            return self.agent(**kwargs)

    ours, capped = run(budgeted(agent(), total_budget=budget), QUESTIONS), run(Capped(), QUESTIONS)
    assert right(ours, QUESTIONS) >= right(capped, QUESTIONS)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_each_step_has_a_receipt_and_is_told_what_is_left(*, asynchronous: bool) -> None:
    (pred,) = run(budgeted(agent(), total_budget=900), QUESTIONS[:1], asynchronous=asynchronous)
    call_receipt = receipt(pred)
    assert (call_receipt.token_budget, call_receipt.program, len(call_receipt.steps)) == (
        900,
        "BudgetedReAct",
        len(call_receipt.calls),
    )
    assert sum(step["output_tokens"] for step in call_receipt.steps) == call_receipt.output_tokens
    assert [step["token_budget"] for step in call_receipt.steps][:1] < [900]
    assert {step["effort"] for step in call_receipt.steps} <= {"minimal", "low", "medium"}


def test_the_effort_goes_down_as_the_budget_runs_out() -> None:
    account = TrajectoryBudget(1000, StepCosts(), None)
    for word, tokens in (("low", 50), ("medium", 150), ("high", 450)):
        account.costs.add_step(word, tokens)
    words = ("low", "medium", "high")
    chosen = []
    for gone in (0, 500, 700):
        account.spent = gone
        chosen.append(account.word(words, "high", final=False))
    assert chosen == ["medium", "low", "low"]
    assert account.word((), None, final=False) is None


def test_a_spent_budget_ends_the_trajectory_with_an_answer_and_no_further_step() -> None:
    (pred,) = run(budgeted(agent(), total_budget=40), QUESTIONS[:1])
    assert pred.trajectory["tool_name_0"] == "finish"
    assert len(receipt(pred).steps) == 1


def test_steps_of_unknown_use_count_as_all_they_were_allowed() -> None:
    scripted = ScriptedAgent()

    def reply(request: Request) -> Reply:
        return replace(scripted(request), usage=False)

    program = budgeted(agent(), total_budget=1000)
    with ScriptedServer(reply) as server:
        lm = tale_dspy.LM("openai/a-model", api_base=server.url, api_key="any", engine="auto", cache=False)
        with dspy.context(lm=lm, adapter=dspy.ChatAdapter(use_json_adapter_fallback=False)):
            pred = program(question=QUESTIONS[0])
    allowed = [step["token_budget"] for step in receipt(pred).steps]
    assert sum(allowed) == 1000 and len(allowed) == 2 and pred.answer is not None
    assert (program.costs.by_word, program.costs.answer[0]) == ({}, 0)


def test_tool_calls_are_those_of_the_agent() -> None:
    (plain,), (ours,) = run(agent(), QUESTIONS[:1]), run(budgeted(agent(), total_budget=5000), QUESTIONS[:1])
    tools = [{k: v for k, v in pred.trajectory.items() if k.startswith(("tool", "obs"))} for pred in (plain, ours)]
    assert tools[0] == tools[1]


def test_an_agent_inside_a_program_is_budgeted_and_a_state_from_before_loads(tmp_path: Path) -> None:
    class Program(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.agent = agent()

    program = Program()
    program.agent.react.signature = program.agent.react.signature.with_instructions("Rewritten.")
    program.save(tmp_path / "p.json")
    new = budgeted(Program(), total_budget=500)
    assert isinstance(new.agent, BudgetedReAct) and new.agent.total_budget == 500
    new.load(tmp_path / "p.json")
    assert new.agent.react.predict.signature.instructions == "Rewritten."
    assert list(new.agent.react.predict.signature.input_fields) == ["question", "trajectory", "tokens_left"]


def test_what_cannot_be_budgeted_so_is_refused() -> None:
    with pytest.raises(UsageError, match=r"total_budget is for a dspy\.ReAct"):
        budgeted(dspy.ChainOfThought("question -> answer"), total_budget=500)
    with pytest.raises(UsageError, match="total_budget must be a whole number"):
        budgeted(agent(), total_budget=0)
    with pytest.raises(SignatureError, match="tokens_left"):
        budgeted(dspy.ReAct("question, tokens_left -> answer", tools=[lookup]), total_budget=500)
