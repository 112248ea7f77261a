"""TALE in inspect_ai: solvers, a scorer and a task.

They work with inspect's own models, limits and logs.

    inspect eval tale_dspy/questions --solver tale_dspy/tale_ep --model openai/gpt-4o-mini -T data=gsm8k -T limit=100
    inspect eval my_task.py --solver tale_dspy/budgeted_cot -S budget=50

Checked against inspect_ai 0.3.285. The prompts are rendered by `TaleAdapter` as everywhere in this package, so that
`inspect eval` and `tale eval` send a model the same.
"""

from collections.abc import Callable, Mapping
from functools import cache
from string import ascii_uppercase

import dspy
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
)
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import span

from tale_dspy.adapter import TaleAdapter
from tale_dspy.answers.budget_estimate import read_estimate
from tale_dspy.answers.comparing import answers_equal
from tale_dspy.answers.kinds import kind_of
from tale_dspy.backends.budget_planner import BudgetRequest, Mode
from tale_dspy.backends.lm import LM
from tale_dspy.backends.reasoning_params import budget_request, check_mode, minimal_thinking
from tale_dspy.budget import DEFAULT_CEILING, DEFAULT_FLOOR, Budget, BudgetLimits, BudgetValue
from tale_dspy.datasets import load_dataset
from tale_dspy.errors import UsageError
from tale_dspy.integrations.policy import as_policy
from tale_dspy.programs.budgeted import BudgetedChainOfThought
from tale_dspy.programs.cot import VanillaCoT
from tale_dspy.programs.estimators.estimator import BudgetEstimator
from tale_dspy.programs.saving import load
from tale_dspy.programs.skipping import LEAST_BUDGET
from tale_dspy.task_signature import BUDGET

KEY = "tale"
"""Key of a sample's metadata in the log: the budget, where it came from, and how it was sent."""


@solver
def tale_ep(
    scale: float = 1.0,
    floor: int = DEFAULT_FLOOR,
    ceiling: int = DEFAULT_CEILING,
    mode: Mode = "auto",
    prompt: str = "answer",
) -> Solver:
    """Ask the model for a budget, then let it reason in fewer tokens.

    It is TALE-EP (arXiv 2412.18547). The transcript has a span `estimate` and a span `answer`; `metadata["tale"]` has
    the budget.

    Args:
        scale: Factor on the estimate (the paper's alpha).
        floor: Smallest budget sent, in tokens.
        ceiling: Largest budget sent, in tokens.
        mode: How the budget is sent: `auto`, `prompt`, `native` or `cap` (`tale_dspy.TaleEP`).
        prompt: Name of the task prompt (`tale_dspy.prompts.TASK_PROMPTS`).
    """
    limits, mode = BudgetLimits(scale=scale, floor=floor, ceiling=ceiling), check_mode(mode)
    signature = BudgetEstimator("question -> answer").predict.signature

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        model = get_model()
        request = minimal_thinking(_language_model(str(model)), _user_settings(model))
        async with span("estimate", type=KEY):
            messages = _rendered_messages(signature, {"question": _question_text(state)}, prompt)
            estimate = await model.generate(messages, config=_generate_config(request))
        budget = _estimated_budget(limits, estimate)
        state = await _generate_within(state, generate, budget, mode, prompt)
        usage = estimate.usage
        state.metadata[KEY]["estimate_tokens"] = None if usage is None else usage.output_tokens
        return state

    return solve


@solver
def budgeted_cot(
    budget: int | str | None = None, program: str | None = None, mode: Mode = "auto", prompt: str = "answer"
) -> Solver:
    """Reason within a fixed budget or the budgets of a saved program.

    The program must need no call for its budgets.

    Args:
        budget: Tokens, an effort word, or both as `low+50`.
        program: File of a saved program, in place of `budget`.
        mode: How the budget is sent: `auto`, `prompt`, `native` or `cap` (`tale_dspy.BudgetedChainOfThought`).
        prompt: Name of the task prompt (`tale_dspy.prompts.TASK_PROMPTS`).

    Raises:
        UsageError: If there is not exactly one of budget and program, or the program asks a model for its budgets.
    """
    policy = _make_policy(budget, program)
    mode = check_mode(mode)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        value = policy(_question_text(state))
        return await _generate_within(state, generate, Budget(value.tokens, "given", effort=value.effort), mode, prompt)

    return solve


@solver
def vanilla_cot(prompt: str = "answer") -> Solver:
    """Reason without a budget, by the paper's prompt.

    The other solvers are compared with it.
    """
    signature = VanillaCoT("question -> answer").predict.signature

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.messages = _rendered_messages(signature, {"question": _question_text(state)}, prompt)
        async with span("answer", type=KEY):
            return await generate(state)

    return solve


@scorer(metrics=[accuracy(), stderr()])
def tale_answer(prompt: str = "answer") -> Scorer:
    """Read the answer out of a reply and compare it with the target.

    It judges as `tale eval` does; a truncated reply is wrong.

    Args:
        prompt: Name of the task prompt that was used.
    """
    signature = VanillaCoT("question -> answer").predict.signature

    async def score(state: TaskState, target: Target) -> Score:
        reply = state.output.completion
        answer = TaleAdapter(task=prompt).parse(signature, reply).get("answer")
        is_whole = bool(state.output.choices) and state.output.stop_reason != "max_tokens"
        is_right = is_whole and any(
            answer is not None and answers_equal(answer, gold, kind_of(gold)) for gold in target
        )
        return Score(value=CORRECT if is_right else INCORRECT, answer=answer, explanation=reply)

    return score


@task
def questions(data: str = "gsm8k", limit: int | None = None, offset: int = 0) -> Task:
    """Ask the questions of a data set of this package, by default with TALE-EP.

    Args:
        data: As of `tale eval --data`; it must have one input, `question`.
        limit: How many to ask; None asks all.
        offset: How many to leave out at the start.
    """
    rows = load_dataset(data).take(offset, limit)
    samples = [Sample(input=str(row["question"]), target=str(row[rows.gold])) for row in rows.examples]
    return Task(
        dataset=MemoryDataset(samples, name=rows.name), solver=tale_ep(prompt=rows.task), scorer=tale_answer(rows.task)
    )


async def _generate_within(state: TaskState, generate: Generate, budget: Budget, mode: Mode, prompt: str) -> TaskState:
    """Let the model answer within a budget.

    It answers by inspect's own `generate`; the budget is noted in the metadata.
    """
    model = get_model()
    request = budget_request(_language_model(str(model)), budget.value, mode, _user_settings(model))
    signature = BudgetedChainOfThought("question -> answer").predict.signature
    inputs: dict[str, object] = {"question": _question_text(state)}
    if budget.tokens is not None:
        inputs[BUDGET] = budget.tokens
    else:
        signature = signature.delete(BUDGET)
    state.messages = _rendered_messages(signature, inputs, prompt)
    state.metadata[KEY] = {
        "token_budget": budget.tokens,
        "effort": budget.effort,
        "budget_source": budget.source,
        "mode": request.mode,
        "reasoning_notes": list(request.notes),
    }
    async with span("answer", type=KEY):
        return await generate(state, **_generate_config(request).model_dump(exclude_none=True))


def _estimated_budget(limits: BudgetLimits, output: ModelOutput) -> Budget:
    """Return the budget in a reply to the request for an estimate.

    It is read as `TaleEP` reads it by default.
    """
    reply = output.completion
    estimate = read_estimate(reply, truncated=output.stop_reason == "max_tokens")
    if estimate.tokens is not None and estimate.tokens < LEAST_BUDGET:
        return limits.apply(None, reply, "too small to reason in")
    return limits.apply(estimate.tokens, reply, estimate.reason)


def _make_policy(budget: int | str | None, program: str | None) -> Callable[[str], BudgetValue]:
    """Return what gives a question its budget."""
    if (budget is None) == (program is None):
        given = "neither" if budget is None else f"budget={budget!r} and program={program!r}"
        raise UsageError(f"budgeted_cot needs exactly one of budget and program, got {given}")
    policy = as_policy(load(program) if program is not None else BudgetValue.parse(budget or 0))

    def budget_for(text: str) -> BudgetValue:
        value = policy.budget_for(text)
        if value is None:
            raise UsageError(f"{program} asks the model for its budgets: take the solver tale_ep")
        return value

    return budget_for


def _question_text(state: TaskState) -> str:
    """Return the question of a sample, with its options where it has any."""
    if not state.choices:
        return str(state.input_text)
    options = [f"{letter}. {choice.value}" for letter, choice in zip(ascii_uppercase, state.choices, strict=False)]
    return "\n".join([state.input_text, *options])


def _rendered_messages(signature: type[dspy.Signature], inputs: Mapping[str, object], prompt: str) -> list[ChatMessage]:
    """Return the prompt of a signature as inspect's messages."""
    kinds = {"system": ChatMessageSystem, "user": ChatMessageUser}
    messages = TaleAdapter(task=prompt).format(signature, [], dict(inputs))
    return [kinds[message["role"]](content=str(message["content"])) for message in messages]


@cache
def _language_model(name: str) -> LM:
    """Return inspect's model under this package's name for it.

    Its reasoning control is looked up by the name.
    """
    return LM(name, engine="litellm", cache=False)


def _user_settings(model: Model) -> dict[str, object]:
    """Return what the user has set for the eval: it is never replaced."""
    config = model.config
    thinking = (
        None if config.reasoning_tokens is None else {"type": "enabled", "budget_tokens": config.reasoning_tokens}
    )
    settings = {"reasoning_effort": config.reasoning_effort, "thinking": thinking, "max_tokens": config.max_tokens}
    return {name: value for name, value in settings.items() if value is not None}


def _generate_config(request: BudgetRequest) -> GenerateConfig:
    """Return inspect's settings for a request.

    Inspect itself leaves out settings that its models refuse together with thinking.
    """
    settings = request.settings
    thinking = settings.get("thinking")
    limits = (settings.get(name) for name in ("max_tokens", "max_completion_tokens"))
    return GenerateConfig(
        reasoning_effort=settings.get("reasoning_effort"),
        reasoning_tokens=thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None,
        max_tokens=next((limit for limit in limits if limit is not None), None),
        extra_body=settings.get("extra_body"),
    )
