"""What all modules share: predictions like dspy.ChainOfThought's, receipts beside them, any adapter, any caller."""

import asyncio
import contextvars
import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest
from dspy.utils.callback import BaseCallback
from fake_lm import fake_lm, sections

import tale_dspy
from tale_dspy import (
    BudgetedChainOfThought,
    ChainOfDraft,
    Concise,
    DirectAnswer,
    SelfBudgeted,
    TaleAdapter,
    TaleEP,
    VanillaCoT,
)
from tale_dspy.errors import SignatureError, UsageError
from tale_dspy.programs.base import ADDED, RESERVED_INPUTS, TaleModule, check_signature, only
from tale_dspy.testing import ScriptedServer

REASONERS = [VanillaCoT, Concise, ChainOfDraft, BudgetedChainOfThought, TaleEP, SelfBudgeted]
MODULES = [DirectAnswer, *REASONERS]


def build(kind: Any, signature: Any = "question -> answer", **kwargs: Any) -> Any:
    return kind(signature, 50, **kwargs) if kind is BudgetedChainOfThought else kind(signature, **kwargs)


def solver(prompt: str) -> str:
    return sections(prompt, "7")


@pytest.mark.parametrize("kind", MODULES)
def test_the_fields_of_a_prediction_are_those_of_dspys_own_modules(kind: Any) -> None:
    plain = dspy.Predict if kind is DirectAnswer else dspy.ChainOfThought
    with dspy.context(lm=fake_lm(solver)):
        pred, other = build(kind)(question="3+4?"), plain("question -> answer")(question="3+4?")
    assert pred.keys() == other.keys()
    assert isinstance(pred, dspy.Prediction)
    assert pred.answer == "7"


@pytest.mark.parametrize("kind", MODULES)
def test_acall_gives_what_a_call_gives(kind: Any) -> None:
    with dspy.context(lm=fake_lm(solver)):
        module = build(kind)
        assert dict(asyncio.run(module.acall(question="3+4?"))) == dict(module(question="3+4?"))


@pytest.mark.parametrize("kind", MODULES)
def test_several_inputs_and_typed_outputs_are_taken(kind: Any) -> None:
    replies = ["Budget: [[50]]"] if kind is TaleEP else []
    lm = fake_lm(*replies, 'So.\nTotal: [[7]], Ok: [[true]]\n[[ ## parts ## ]]\n["a", "b"]')
    with dspy.context(lm=lm):
        pred = build(kind, "context, question -> total: int, ok: bool, parts: list[str]")(context="C", question="Q")
    assert (pred.total, pred.ok, pred.parts) == (7, True, ["a", "b"])
    assert "Context: C\nQuestion: Q" in lm.prompts[-1]


def test_budget_tokens_and_receipt_stand_outside_the_fields() -> None:
    with dspy.context(lm=fake_lm(solver)):
        pred = TaleEP("question -> answer")(question="3+4?")
    assert (pred.token_budget, pred.output_tokens, pred.estimate_tokens) == (70, 5, 2)
    assert not {"token_budget", "output_tokens", "estimate_tokens", "receipt"} & set(pred.keys())
    assert json.loads(json.dumps(pred.receipt, allow_nan=False))["token_budget"] == 70
    assert json.dumps(dict(pred)) == json.dumps(pred.toDict())


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, copy.copy, lambda p: pickle.loads(pickle.dumps(p)), lambda p: p.copy()]
)
def test_a_copied_prediction_keeps_its_receipt(duplicate: Any) -> None:
    with dspy.context(lm=fake_lm(solver)):
        pred = TaleEP("question -> answer")(question="3+4?")
    other = duplicate(pred)
    assert (other, other.receipt, other.token_budget) == (pred, pred.receipt, 70)


def test_receipt_returns_the_typed_receipt() -> None:
    with dspy.context(lm=fake_lm(solver)):
        pred = VanillaCoT("question -> answer")(question="3+4?")
    call_receipt = tale_dspy.receipt(pred)
    assert (call_receipt.program, call_receipt.status, call_receipt.output_tokens) == ("VanillaCoT", "answered", 5)
    assert call_receipt.to_json() == pred.receipt


@pytest.mark.parametrize("pred", [dspy.Prediction(answer="7"), None, tale_dspy.programs.base.TalePrediction()])
def test_anything_else_carries_no_receipt(pred: Any) -> None:
    with pytest.raises(TypeError, match="carries no receipt"):
        tale_dspy.receipt(pred)


@pytest.mark.parametrize(
    ("reply", "finish", "status"),
    [
        ("Answer: [[7]]", "stop", "answered"),
        ("I have no idea", "stop", "unreadable"),
        ("", "stop", "empty"),
        ("   ", "length", "empty"),
        ("Let me think ab", "length", "truncated"),
    ],
)
def test_the_receipt_says_how_the_answer_ended(reply: str, finish: str, status: str) -> None:
    with dspy.context(lm=fake_lm(reply, finish_reason=finish)):
        assert VanillaCoT("question -> answer")(question="Q").receipt["status"] == status


def test_the_prediction_in_the_trace_is_left_as_the_predictor_made_it() -> None:
    with dspy.context(lm=fake_lm(solver), trace=[]):
        pred = TaleEP("question -> answer")(question="3+4?")
        traced = [p for _, _, p in dspy.settings.trace]
    assert [type(p) for p in traced] == [dspy.Prediction, dspy.Prediction]
    assert traced[0].token_budget == "70"
    assert pred is not traced[1]


# ---- adapters


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter()])
def test_the_adapter_of_the_user_is_used(adapter: Any) -> None:
    lm = fake_lm(solver)
    with dspy.context(lm=lm, adapter=adapter):
        pred = TaleEP("question -> answer", least_budget=7)(question="3+4?")
    assert (pred.answer, pred.token_budget, len(lm.prompts)) == ("7", 7, 2)
    assert lm.prompts[1].endswith("under 7 tokens in all.")


def test_without_an_adapter_tale_adapter_is_used_and_nothing_set_globally() -> None:
    lm = fake_lm(solver)
    with dspy.context(lm=lm):
        VanillaCoT("question -> answer")(question="3+4?")
        assert dspy.settings.adapter is None
    assert lm.prompts[0].startswith("Q: 3+4?\n")


def test_the_adapter_of_a_module_comes_before_the_configured_one() -> None:
    lm = fake_lm(solver)
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        VanillaCoT("question -> answer", adapter=TaleAdapter())(question="3+4?")
    assert lm.prompts[0].startswith("Q: 3+4?\n")


@pytest.mark.parametrize("adapter", ["chat", TaleAdapter, 5])
def test_what_is_no_adapter_is_refused(adapter: Any) -> None:
    with pytest.raises(UsageError, match="adapter must be"):
        VanillaCoT("question -> answer", adapter=adapter)


# ---- callers


@pytest.fixture
def examples(server: ScriptedServer) -> list[dspy.Example]:
    return [dspy.Example(question=q, answer=a).with_inputs("question") for q, a in server.bank.items()]


def test_evaluate_runs_it_and_saves_json(lm: Any, examples: list[Any], tmp_path: Any) -> None:
    path = tmp_path / "rows.json"
    evaluate = dspy.Evaluate(
        devset=examples[:8], metric=dspy.evaluate.answer_exact_match, num_threads=4, save_as_json=str(path)
    )
    with dspy.context(lm=lm):
        result = evaluate(TaleEP("question -> answer"))
    assert result.score > 50
    assert len(json.loads(path.read_text())) == 8
    assert all(pred.token_budget > 0 for _, pred, _ in result.results)


def test_parallel_answers_each_question_with_its_own_receipt(lm: Any, server: Any, examples: list[Any]) -> None:
    module = TaleEP("question -> answer")
    with dspy.context(lm=lm):
        preds = dspy.Parallel(num_threads=8, disable_progress_bar=True)([(module, e) for e in examples])
    assert sum(p.output_tokens + p.estimate_tokens for p in preds) == server.stats.completion_tokens
    assert all(len(p.receipt["calls"]) == 2 for p in preds)


def test_gathered_calls_have_their_own_receipts(lm: Any, server: Any, examples: list[Any]) -> None:
    module = TaleEP("question -> answer")

    async def ask() -> list[Any]:
        preds = await asyncio.gather(*(module.acall(question=e.question) for e in examples))
        await lm.aclose()
        return preds

    with dspy.context(lm=lm):
        preds = asyncio.run(ask())
    assert sum(p.output_tokens + p.estimate_tokens for p in preds) == server.stats.completion_tokens
    assert all(len(p.receipt["calls"]) == 2 for p in preds)


def test_threads_that_run_in_a_copied_context_have_their_own_receipts(lm: Any, examples: list[Any]) -> None:
    module = TaleEP("question -> answer")
    with dspy.context(lm=lm), ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(contextvars.copy_context().run, module, question=e.question) for e in examples]
        preds = [future.result() for future in futures]
    assert [[c["role"] for c in p.receipt["calls"]] for p in preds] == [["estimate", "reason"]] * len(examples)


def test_asyncify_runs_it() -> None:
    with dspy.context(lm=fake_lm(solver)):
        pred = asyncio.run(dspy.asyncify(TaleEP("question -> answer"))(question="3+4?"))
    assert (pred.answer, pred.estimate_tokens) == ("7", 2)


async def streamed(listeners: Any = None, **options: Any) -> list[Any]:
    program = dspy.streamify(TaleEP("question -> answer", **options), stream_listeners=listeners)
    return [value async for value in program(question="3+4?")]


def test_it_streams_without_listeners_and_the_last_value_is_the_prediction() -> None:
    with dspy.context(lm=fake_lm(solver)):
        *_, pred = asyncio.run(streamed())
    assert (pred.answer, pred.token_budget) == ("7", 70)


def test_listeners_need_chat_adapter_and_say_so(lm: Any) -> None:
    def listeners() -> list[Any]:
        return [dspy.streaming.StreamListener(signature_field_name="answer")]

    with dspy.context(lm=lm):
        with pytest.raises(UsageError, match=r"pass adapter=dspy\.ChatAdapter\(\)"):
            asyncio.run(streamed(listeners()))
        *chunks, pred = asyncio.run(streamed(listeners(), adapter=dspy.ChatAdapter()))
    assert "".join(c.chunk for c in chunks if isinstance(c, dspy.streaming.StreamResponse)) == pred.answer


def test_callbacks_of_a_module_hear_of_its_calls() -> None:
    class Count(BaseCallback):
        started = 0

        def on_module_start(self, call_id: str, instance: Any, inputs: Any) -> None:
            self.started += 1

    count = Count()
    with dspy.context(lm=fake_lm(solver)):
        VanillaCoT("question -> answer", callbacks=[count])(question="Q")
    assert count.started == 1


def test_several_completions_are_kept() -> None:
    lm = fake_lm("One.\nAnswer: [[1]]", "Two.\nAnswer: [[2]]")
    with dspy.context(lm=lm):
        pred = VanillaCoT("question -> answer")(question="Q", config={"n": 2})
    assert pred.completions.answer == ["1", "2"]
    assert (pred.answer, pred.output_tokens) == ("1", 6)


def test_config_and_lm_can_be_given_at_a_call_or_at_construction() -> None:
    used_lm, unused_lm = fake_lm(solver), fake_lm(solver)
    with dspy.context(lm=unused_lm):
        VanillaCoT("question -> answer", temperature=0.3, max_tokens=9)(
            question="Q", lm=used_lm, config={"max_tokens": 5}
        )
    config = used_lm.fake.requests[0].config
    assert (config.temperature, config.max_tokens, unused_lm.prompts) == (0.3, 5, [])


def test_usage_tracking_of_dspy_counts_all_calls() -> None:
    with dspy.context(lm=fake_lm(solver), track_usage=True):
        usage = TaleEP("question -> answer")(question="3+4?").get_lm_usage()
    assert usage["fake/model"]["completion_tokens"] == 7


# ---- signatures


@pytest.mark.parametrize("name", ADDED)
@pytest.mark.parametrize("kind", MODULES)
def test_a_field_of_a_name_that_is_added_is_refused(kind: Any, name: str) -> None:
    for signature in (f"question, {name} -> answer", f"question -> answer, {name}"):
        with pytest.raises(SignatureError, match=name):
            build(kind, signature)


@pytest.mark.filterwarnings("ignore:Field name")  # dspy says so of "signature"
@pytest.mark.parametrize("name", RESERVED_INPUTS)
def test_an_input_of_a_reserved_name_is_refused(name: str) -> None:
    with pytest.raises(SignatureError, match=name):
        VanillaCoT(f"question, {name} -> answer")


def test_an_output_may_have_a_reserved_name() -> None:
    assert "config" in VanillaCoT("question -> config").predict.signature.output_fields


@pytest.mark.parametrize("name", ["adapter", "callbacks", "seen", "limits", "estimator", "kwargs", "program"])
def test_inputs_may_have_the_names_of_attributes(name: str) -> None:
    lm = fake_lm(solver)
    with dspy.context(lm=lm):
        pred = TaleEP(f"{name} -> answer")(**{name: "the value"})
    assert pred.answer == "7"
    assert all("the value" in prompt for prompt in lm.prompts)


@pytest.mark.parametrize("signature", ["question answer", "", None, 5, dspy.Predict, "q -> a: nonsense[", dict])
def test_what_is_no_signature_is_refused(signature: Any) -> None:
    with pytest.raises(SignatureError):
        check_signature(signature)


def test_only_keeps_the_named_inputs() -> None:
    assert only({"a": 1, "b": 2}, ["b", "c"]) == {"b": 2}


@pytest.mark.parametrize("kind", MODULES)
def test_a_module_prints_as_its_signature(kind: Any) -> None:
    assert repr(build(kind)) == f"{kind.__name__}({build(kind).predict.signature.signature!r})"


# ---- states


def saved(module: Any, tmp_path: Any) -> str:
    path = str(tmp_path / "program.json")
    module.save(path)
    return path


@pytest.mark.parametrize("kind", REASONERS)
def test_a_plain_chain_of_thought_loads_by_field_name(kind: Any, tmp_path: Any) -> None:
    plain = dspy.ChainOfThought(dspy.Signature("context, question -> answer: int").with_instructions("Be kind."))
    plain.predict.demos = [dspy.Example(context="C", question="Q", reasoning="R", answer=1)]
    module = build(kind, "context, question -> answer: int")
    module.load(saved(plain, tmp_path))
    assert module.predict.signature.instructions.startswith("Be kind.")
    assert module.predict.demos == [{"context": "C", "question": "Q", "reasoning": "R", "answer": 1}]
    assert list(module.predict.signature.fields)[:2] == ["context", "question"]


@pytest.mark.parametrize(("kind", "words"), [(Concise, "Be concise."), (ChainOfDraft, "5 words at most.")])
def test_a_control_keeps_its_guidance_when_it_loads_a_plain_state(kind: Any, words: str, tmp_path: Any) -> None:
    module = kind("question -> answer")
    module.load(saved(dspy.ChainOfThought("question -> answer"), tmp_path))
    assert module.predict.signature.instructions.endswith(words)


def test_a_control_whose_guidance_was_rewritten_loads_as_it_was_saved(tmp_path: Any) -> None:
    module = Concise("question -> answer")
    module.predict.signature = module.predict.signature.with_instructions("Short!")
    other = Concise("question -> answer")
    other.load(saved(module, tmp_path))
    assert other.predict.signature.instructions == "Short!"


def test_guidance_stands_behind_the_instructions_of_the_user() -> None:
    assert TaleModule("question -> answer").predict.signature.instructions.startswith("Given the fields")
    signature = dspy.Signature("question -> answer", "Be kind.")
    assert Concise(signature).predict.signature.instructions == "Be kind.\n\nBe concise."


def test_a_listener_on_another_predictor_is_none_of_its_business() -> None:
    class Program(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.budgeted, self.shown = TaleEP("question -> plan"), dspy.Predict("plan -> story")

        def forward(self, question: str) -> Any:
            return self.shown(plan=self.budgeted(question=question).plan)

    async def streamed_program(listener: Any) -> list[Any]:
        program = dspy.streamify(Program(), stream_listeners=[listener])
        return [value async for value in program(question="Q")]

    lm = fake_lm(
        lambda prompt: "[[ ## story ## ]]\nOnce.\n\n[[ ## completed ## ]]" if "story" in str(prompt) else "[[9]]"
    )
    with dspy.context(lm=lm):
        *_, last = asyncio.run(streamed_program(dspy.streaming.StreamListener(signature_field_name="story")))
    assert last.story == "Once."
