"""A cut answer is recovered: by one request every provider takes, within its room, and counted."""

import asyncio
from pathlib import Path
from typing import Any

import dspy
import pytest
from fake_lm import fake_lm, thinking

import tale_dspy
from tale_dspy import BudgetedChainOfThought, SelfBudgeted, TaleEP, VanillaCoT
from tale_dspy.errors import UsageError
from tale_dspy.programs.recovery import doubled, unavoidable_tokens, with_closed_thought
from tale_dspy.testing import Reply, Request, ScriptedServer, SolverReply, ThinkingReply, word_problems

BANK = {row["question"]: row["answer"] for row in word_problems(100)}
SOLVER = SolverReply(BANK, wrong=0.0)
QUESTION = next(iter(BANK))
KINDS = [VanillaCoT, SelfBudgeted, TaleEP, BudgetedChainOfThought]
ADAPTERS = [None, dspy.ChatAdapter(), dspy.JSONAdapter()]


def build(kind: Any, **kwargs: Any) -> Any:
    return kind("question -> answer", **({"token_budget": 50} if kind is BudgetedChainOfThought else {}), **kwargs)


def asking(server: ScriptedServer, **settings: Any) -> Any:
    settings = {"engine": "auto", "cache": False, **settings}
    return dspy.context(lm=tale_dspy.LM("openai/scripted", api_base=server.url, api_key="any", **settings))


def rooms(server: ScriptedServer) -> list[int | None]:
    """What the requests have set as the most a reply may hold, in order."""
    return [r.body.get("max_tokens", r.body.get("max_completion_tokens")) for r in server.requests]


def say(*replies: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Ask a module that gets these replies, in turn; every reply is cut but one that says so."""
    left = list(replies)

    def reply(request: Request) -> Reply:
        given = left.pop(0)
        return given if isinstance(given, Reply) else Reply(given)

    with ScriptedServer(reply) as server, asking(server, **kwargs.pop("lm", {})):
        pred = VanillaCoT("question -> answer", **kwargs)(question="3+4?")
    return pred, server


CUT = Reply("Three and", finish_reason="length", completion_tokens=100)
EMPTY = Reply(None, finish_reason="length", reasoning="hmm " * 99, completion_tokens=100)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_thought_without_end_becomes_an_answer(kind: Any, shown: bool, adapter: Any) -> None:
    with ScriptedServer(ThinkingReply(SOLVER, shown=shown)) as server, asking(server, max_tokens=200):
        pred = build(kind, on_truncation="force_answer", adapter=adapter)(question=QUESTION)
    call_receipt = tale_dspy.receipt(pred)
    assert (pred.answer, call_receipt.status, pred.keys()) == (BANK[QUESTION], "answered", ["reasoning", "answer"])
    assert [c.role for c in call_receipt.calls if c.role != "estimate"][-1] == "recovery"
    assert 0 < (
        call_receipt.recovery_tokens or 0
    ) < 20 and call_receipt.output_tokens == server.stats.completion_tokens - (call_receipt.estimate_tokens or 0)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_acall_rescues_as_a_call_does(adapter: Any) -> None:
    with ScriptedServer(ThinkingReply(SOLVER, thought=300)) as server, asking(server, max_tokens=200):
        for policy in ("force_answer", "retry_larger"):
            module = VanillaCoT("question -> answer", on_truncation=policy, adapter=adapter)
            assert asyncio.run(module.acall(question=QUESTION)).answer == BANK[QUESTION]


def test_at_least_95_percent_of_empty_answers_are_turned_into_answers() -> None:
    examples = [dspy.Example(question=q, answer=a).with_inputs("question") for q, a in BANK.items()]
    with ScriptedServer(ThinkingReply(SOLVER, stubborn=0.03)) as server:
        lm = tale_dspy.LM("openai/s", api_base=server.url, api_key="any", engine="auto", cache=False, max_tokens=200)
        plain, rescued = (
            tale_dspy.evaluate(VanillaCoT("question -> answer", on_truncation=policy), examples, lm=lm).summary
            for policy in (None, "force_answer")
        )
    assert plain["outcomes"] == {**dict.fromkeys(plain["outcomes"], 0), "empty": 100}
    assert plain["recoveries"] == {"cut": 0, "answered": 0, "calls": 0, "output_tokens": None}
    assert rescued["outcomes"]["wrong"] == 0 and rescued["outcomes"]["correct"] >= 95
    assert rescued["recoveries"]["cut"] == rescued["recoveries"]["calls"] == 100
    assert rescued["recoveries"]["answered"] == rescued["outcomes"]["correct"] == 100 - rescued["outcomes"]["empty"]
    assert rescued["calls"] == 200


def test_without_a_policy_nothing_more_is_sent() -> None:
    pred, server = say(EMPTY)
    assert (pred.answer, pred.receipt["status"], server.stats.requests) == (None, "empty", 1)


@pytest.mark.parametrize("policy", ["force_answer", "retry_larger"])
def test_an_answer_that_came_is_left_alone(policy: Any) -> None:
    pred, server = say("So.\nAnswer: [[7]]", on_truncation=policy)
    assert (pred.answer, server.stats.requests, pred.receipt["recovery_tokens"]) == ("7", 1, None)
    pred, server = say("I do not know", on_truncation=policy)
    assert (pred.receipt["status"], server.stats.requests) == ("unreadable", 1)


def test_what_was_thought_is_sent_back_as_the_assistants_turn() -> None:
    pred, server = say(CUT, "Answer: [[7]]", on_truncation="force_answer")
    first, second = (r.messages for r in server.requests)
    assert [m["role"] for m in second] == ["system", "user", "assistant", "user"]
    assert second[:2] == first and second[2]["content"] == "Three and"
    assert second[3]["content"].endswith("give the final answer now, from what you have. Please Give the response by "
                                         "strictly following this format: Answer: [[answer]].")  # fmt: skip
    assert (pred.reasoning, pred.answer, pred.receipt["status"]) == ("Three and", "7", "answered")


def test_a_native_thought_is_sent_back_too() -> None:
    pred, server = say(EMPTY, "Answer: [[7]]", on_truncation="force_answer")
    assert server.requests[1].messages[2]["content"] == ("hmm " * 99).strip()
    assert pred.reasoning == ("hmm " * 99).strip()


def test_where_no_thought_is_known_the_question_is_asked_again_with_no_room_to_think() -> None:
    _, server = say(
        Reply(None, finish_reason="length", completion_tokens=100), "Answer: [[7]]", on_truncation="force_answer"
    )
    first, second = (r.messages for r in server.requests)
    assert len(second) == 2 and second[1]["content"].startswith(first[1]["content"])
    assert "give the final answer at once" in second[1]["content"]


def test_a_question_with_parts_keeps_them() -> None:
    parts = [{"type": "image_url", "image_url": {"url": "u"}}]
    messages = with_closed_thought([{"role": "user", "content": parts}], "", "")
    assert messages[0]["content"][0] == parts[0] and messages[0]["content"][1]["type"] == "text"
    assert parts == [{"type": "image_url", "image_url": {"url": "u"}}]


@pytest.mark.parametrize(("own", "sent"), [({}, 512), ({"max_tokens": 100}, 100), ({"max_tokens": 9000}, 512)])
def test_the_answer_gets_a_small_room_and_never_more_than_the_callers(own: Any, sent: int) -> None:
    _, server = say(CUT, "Answer: [[7]]", on_truncation="force_answer", lm=own)
    assert rooms(server) == [own.get("max_tokens"), sent]


def test_escalation_doubles_budget_and_room_at_most_twice() -> None:
    with ScriptedServer(ThinkingReply(SOLVER)) as server, asking(server, max_tokens=100):
        pred = BudgetedChainOfThought("question -> answer", 50, on_truncation="retry_larger")(question=QUESTION)
    assert rooms(server) == [100, 200, 400]
    assert [f"use less than {b} tokens" in r.prompt for r, b in zip(server.requests, (50, 100, 200), strict=True)]
    call_receipt = tale_dspy.receipt(pred)
    assert (
        call_receipt.status,
        call_receipt.token_budget,
        call_receipt.output_tokens,
        call_receipt.recovery_tokens,
    ) == ("empty", 50, 700, 600)
    assert "700 output tokens, 600 of them in 2 calls to recover a cut answer" in str(call_receipt)


def test_escalation_ends_with_the_first_answer() -> None:
    with ScriptedServer(ThinkingReply(SOLVER, thought=120)) as server, asking(server, max_tokens=100):
        pred = VanillaCoT("question -> answer", on_truncation="retry_larger")(question=QUESTION)
    assert (pred.answer, server.stats.requests) == (BANK[QUESTION], 3 if pred.output_tokens > 400 else 2)


def test_without_max_tokens_the_room_that_was_used_up_is_doubled() -> None:
    _, server = say(CUT, "Answer: [[7]]", on_truncation="retry_larger")
    assert rooms(server) == [None, 200]


def test_the_settings_of_the_user_are_not_touched() -> None:
    config = {"max_tokens": 100}
    with ScriptedServer(ThinkingReply(SOLVER)) as server, asking(server):
        module = VanillaCoT("question -> answer", on_truncation="retry_larger", temperature=0.5)
        module(question=QUESTION, config=config)
        assert (config, module.predict.config) == ({"max_tokens": 100}, {"temperature": 0.5})
        assert dspy.settings.lm.kwargs.get("max_tokens") is None
        module.on_truncation = "force_answer"
        module(question=QUESTION, config=config)
    assert config == {"max_tokens": 100}
    assert {r.body["temperature"] for r in server.requests} == {0.5}


@pytest.mark.parametrize(
    ("config", "grown"),
    [
        ({"thinking": {"budget_tokens": 1024, "type": "on"}}, {"thinking": {"budget_tokens": 2048, "type": "on"}}),
        ({"extra_body": {"thinking_token_budget": 5, "a": 1}}, {"extra_body": {"thinking_token_budget": 10, "a": 1}}),
        ({"extra_body": {"reasoning": {"max_tokens": 9}}}, {"extra_body": {"reasoning": {"max_tokens": 18}}}),
        ({"custom_params": {"thinking_budget": 4}}, {"custom_params": {"thinking_budget": 8}}),
        ({"reasoning_effort": "low", "temperature": 1}, {}),
        ({"extra_body": {"reasoning_budget_tokens": -1}}, {}),
    ],
)  # fmt: skip
def test_numbers_of_a_control_are_doubled_in_a_copy(config: Any, grown: Any) -> None:
    before = repr(config)
    assert doubled(config) == grown
    assert repr(config) == before


def test_a_control_is_turned_off_for_the_answer_and_doubled_for_more_room() -> None:
    bodies = {}
    for policy in ("force_answer", "retry_larger"):
        with ScriptedServer(EMPTY) as server:
            lm = tale_dspy.LM("hosted_vllm/qwen3-8b", api_base=server.url, api_key="any", engine="auto", cache=False)
            module = BudgetedChainOfThought("question -> answer", 100, mode="native", on_truncation=policy)
            with dspy.context(lm=lm):
                module(question="3+4?")
            bodies[policy] = [r.body for r in server.requests]
    first, second = bodies["force_answer"]
    assert first["thinking_token_budget"] == 100 and "thinking_token_budget" not in second
    assert second["chat_template_kwargs"] == {"enable_thinking": False}
    assert [b["thinking_token_budget"] for b in bodies["retry_larger"]] == [100, 200, 400]


@pytest.mark.parametrize("policy", ["force_answer", "retry_larger"])
def test_a_recovery_that_the_provider_refuses_leaves_the_answer_as_it_was(policy: Any) -> None:
    pred, _ = say(EMPTY, Reply("too long", status=400), Reply("too long", status=400), on_truncation=policy)
    assert (pred.answer, pred.receipt["status"], len(pred.receipt["calls"])) == (None, "empty", 1)


def test_a_recovery_without_an_answer_is_no_answer() -> None:
    pred, _ = say(CUT, "I cannot say.", on_truncation="force_answer")
    assert (pred.answer, pred.reasoning, pred.receipt["status"]) == (None, "Three and", "unreadable")
    with ScriptedServer(EMPTY) as server, asking(server), pytest.raises(dspy.utils.exceptions.AdapterParseError):
        VanillaCoT("question -> answer", on_truncation="force_answer", adapter=dspy.ChatAdapter())(question="3+4?")


def test_a_step_of_a_cut_thought_is_never_taken_for_the_answer() -> None:
    half = Reply("First [[3]] and then", finish_reason="length")
    for policy in ("force_answer", "retry_larger"):
        pred, _ = say(half, "I cannot say.", on_truncation=policy)
        assert (pred.answer, pred.receipt["status"]) == (None, "unreadable")
    marked = Reply("[[ ## reasoning ## ]]\nSo\n\n[[ ## answer ## ]]\n3 and", finish_reason="length")
    for policy in ("force_answer", "retry_larger"):
        with pytest.raises(dspy.utils.exceptions.AdapterParseError):
            say(marked, "?", on_truncation=policy, adapter=dspy.ChatAdapter(use_json_adapter_fallback=False))


def test_a_control_of_the_lm_itself_is_taken_off_for_the_answer() -> None:
    extra = {"thinking_token_budget": 99, "seed_of_mine": 1}
    _, server = say(EMPTY, "Answer: [[7]]", on_truncation="force_answer", lm={"extra_body": extra, "engine": "auto"})
    first, second = (r.body for r in server.requests)
    assert first["thinking_token_budget"] == 99
    assert "thinking_token_budget" not in second and second["seed_of_mine"] == 1
    assert extra == {"thinking_token_budget": 99, "seed_of_mine": 1}


def test_an_estimate_is_never_rescued() -> None:
    def reply(request: Request) -> Reply:
        return EMPTY if request.kind == "estimate" else Reply("So.\nAnswer: [[7]]")

    with ScriptedServer(reply) as server, asking(server):
        pred = TaleEP("question -> answer", on_truncation="force_answer")(question="3+4?")
    assert (pred.answer, server.stats.requests) == ("7", 2)


def test_an_optimizer_sees_the_rescued_answer_once() -> None:
    with dspy.context(lm=fake_lm(thinking("hm"), "Answer: [[7]]", finish_reason="length"), trace=[]):
        module = VanillaCoT("question -> answer", on_truncation="force_answer")
        module(question="3+4?")
        ((predictor, inputs, pred),) = dspy.settings.trace
    assert predictor is module.predict and inputs == {"question": "3+4?"} and pred.answer == "7"


def test_the_policy_is_saved_in_any_program_and_checked_when_loaded(tmp_path: Path) -> None:
    class Program(dspy.Module):
        def __init__(self, on_truncation: Any = None) -> None:
            super().__init__()
            self.solve = VanillaCoT("question -> answer", on_truncation=on_truncation)

    program, other = Program("force_answer"), Program()
    program.save(tmp_path / "p.json")
    program.solve.save(tmp_path / "solve.json")
    other.load(tmp_path / "p.json")
    assert other.solve.on_truncation == tale_dspy.load(tmp_path / "solve.json").on_truncation == "force_answer"
    assert other.deepcopy().solve.on_truncation == "force_answer"
    text = (tmp_path / "solve.json").read_text().replace('"on_truncation": "force_answer"', '"on_truncation": "pray"')
    (tmp_path / "solve.json").write_text(text)
    with pytest.raises(UsageError, match="on_truncation must be force_answer or retry_larger"):
        tale_dspy.load(tmp_path / "solve.json")


@pytest.mark.parametrize("policy", ["pray", True, "Answer"])
def test_any_other_policy_is_refused(policy: Any) -> None:
    with pytest.raises(UsageError, match="on_truncation must be force_answer or retry_larger"):
        TaleEP("question -> answer", on_truncation=policy)


@pytest.mark.parametrize(
    ("model", "least"),
    [("openai/gpt-4o", 0), ("openai/gpt-5", 1024), ("openai/o3", 2048), ("gemini/gemini-2.5-pro", 128),
     ("gemini/gemini-2.5-flash", 0), ("hosted_vllm/qwen3-8b", 0), ("xai/grok-4", 2048)],
)  # fmt: skip
def test_a_model_that_cannot_be_kept_from_thinking_is_given_room_for_it(model: str, least: int) -> None:
    assert unavoidable_tokens(tale_dspy.LM(model, api_key="any"), {}) == least
