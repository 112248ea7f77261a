"""budgeted: a copy of any program whose chains of thought are budgeted, with all else as it was."""

import json
import logging
import pickle
import threading
from collections import namedtuple
from pathlib import Path
from typing import Any

import cloudpickle
import dspy
import pytest
from dspy.teleprompt import MIPROv2
from dspy.utils.callback import BaseCallback
from fake_lm import fake_lm, sections

from tale_dspy import BudgetedChainOfThought, BudgetEstimator, StateError, TaleAdapter, TaleEP, VanillaCoT, budgeted
from tale_dspy.errors import SignatureError, UsageError
from tale_dspy.programs.convert import unbudgeted
from tale_dspy.programs.copying import copy_program

SIGNATURE = dspy.Signature("question -> answer").with_instructions("Be kind.")


def solve(prompt: str) -> str:
    return sections(prompt, "7")


class Two(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.router = dspy.ChainOfThought("question -> topic")
        self.direct = dspy.Predict("question -> answer")
        self.solve = dspy.ChainOfThought("question, topic -> answer")

    def forward(self, question: str) -> Any:
        return self.solve(question=question, topic=self.router(question=question).topic)


class Nest(dspy.Module):
    """Modules in every place that DSPy looks into."""

    Pair = namedtuple("Pair", "first second")

    def __init__(self) -> None:
        super().__init__()
        shared = dspy.ChainOfThought("a -> b")
        self.shared = shared
        self.many = [shared, [dspy.ChainOfThought("c -> d")]]
        self.named = {"x": dspy.ChainOfThought("e -> f"), "y": {"z": shared}}
        self.fixed = (dspy.ChainOfThought("g -> h"), 5)
        self.pair = Nest.Pair(dspy.ChainOfThought("i -> j"), None)
        self.inner = Two()
        self.constants = (1, 2)
        self.loop: list[Any] = []
        self.loop.append(self.loop)


def test_a_chain_of_thought_becomes_a_tale_ep_that_keeps_all_it_had() -> None:
    cot = dspy.ChainOfThought(
        dspy.Signature(
            {"question": (str, dspy.InputField(desc="hard")), "n": (int, dspy.OutputField(desc="in all"))}, "Be kind."
        ),
        temperature=0.3,
    )
    cot.predict.demos = [dspy.Example(question="1+1?", reasoning="R", n=2)]
    cot.predict.lm = fake_lm(solve)
    cot.callbacks, cot.predict.callbacks = [BaseCallback()], [BaseCallback()]
    new = budgeted(cot)
    assert isinstance(new, TaleEP)
    assert repr(new) == "TaleEP('question, token_budget -> reasoning, n')"
    assert new.predict.signature.instructions == "Be kind."
    assert new.predict.signature.delete("token_budget").equals(cot.predict.signature)
    assert new.predict.demos == cot.predict.demos
    assert new.predict.config == {"temperature": 0.3}
    assert new.predict.lm is new.estimator.predict.lm is cot.predict.lm
    assert (new.callbacks, new.predict.callbacks) == (cot.callbacks, cot.predict.callbacks)


def test_the_program_itself_is_not_changed() -> None:
    program = Nest()
    before = json.dumps(program.dump_state(), default=str)
    budgeted(program)
    assert json.dumps(program.dump_state(), default=str) == before
    assert type(program.inner.solve) is dspy.ChainOfThought


def test_modules_are_found_in_every_place_and_a_shared_one_stays_one() -> None:
    new = budgeted(Nest())
    modules = [
        new.shared,
        new.many[1][0],
        new.named["x"],
        new.fixed[0],
        new.pair.first,
        new.inner.router,
        new.inner.solve,
    ]
    assert all(type(module) is TaleEP for module in modules)
    assert new.shared is new.many[0] is new.named["y"]["z"]
    assert (type(new.pair).__name__, new.fixed[1]) == ("Pair", 5)
    assert type(new.inner.direct) is dspy.Predict


def test_it_answers_with_budgets() -> None:
    lm = fake_lm(solve)
    with dspy.context(lm=lm, adapter=TaleAdapter()):
        assert budgeted(Two())(question="3+4?").answer == "7"
    assert ["[[budget]]" in prompt for prompt in lm.prompts] == [True, False, True, False]


@pytest.mark.parametrize("names", [["router"], ["router.predict"], "router", ["self.router"]])
def test_named_modules_are_left_alone(names: Any) -> None:
    new = budgeted(Two(), exclude=names)
    assert (type(new.router), type(new.solve)) == (dspy.ChainOfThought, TaleEP)


def test_a_module_is_left_alone_with_all_it_holds() -> None:
    new = budgeted(Nest(), exclude=["inner", "named['x']", "many[1][0]"])
    assert type(new.inner.solve) is type(new.named["x"]) is type(new.many[1][0]) is dspy.ChainOfThought
    assert type(new.shared) is TaleEP


def test_a_predict_is_budgeted_where_it_is_named() -> None:
    new = budgeted(Two(), include=["direct"])
    lm = fake_lm(solve)
    with dspy.context(lm=lm, adapter=TaleAdapter()):
        pred = new.direct(question="3+4?")
    assert (pred.keys(), pred.token_budget) == (["answer"], 70)
    assert lm.prompts[1].endswith("Use less than 70 tokens:\n")


@pytest.mark.parametrize("argument", ["include", "exclude"])
@pytest.mark.parametrize("name", ["nothing", "rout", "router.nothing", "router.predict.demos"])
def test_the_error_of_an_unknown_name_lists_the_known_ones(argument: str, name: str) -> None:
    with pytest.raises(UsageError, match=r"router\.predict, direct, solve\.predict"):
        budgeted(Two(), **{argument: [name]})


def test_only_a_predict_can_be_included() -> None:
    with pytest.raises(UsageError, match="'inner', which is a Two"):
        budgeted(Nest(), include=["inner"])
    assert type(budgeted(Two(), include=["router"]).router) is TaleEP


@pytest.mark.parametrize("program", [dspy.Predict("a -> b"), TaleEP("a -> b"), BudgetEstimator("a -> b")])
def test_nothing_to_budget_is_reported(program: Any) -> None:
    with pytest.raises(UsageError, match="nothing to budget"):
        budgeted(program)


@pytest.mark.parametrize("program", [None, "cot", dspy.ChainOfThought])
def test_what_is_no_module_is_refused(program: Any) -> None:
    with pytest.raises(UsageError, match=r"takes a dspy\.Module"):
        budgeted(program)


def test_a_field_of_a_taken_name_is_refused() -> None:
    with pytest.raises(SignatureError, match="receipt"):
        budgeted(dspy.ChainOfThought("question -> receipt"))


class Own(dspy.ChainOfThought):
    def forward(self, **kwargs: Any) -> Any:
        return super().forward(**kwargs)


class Renamed(dspy.ChainOfThought):
    """A subclass without a forward of its own."""


def test_a_subclass_with_a_forward_of_its_own_is_left_alone_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    program = Two()
    program.router, program.solve = Own("question -> topic"), Renamed("question, topic -> answer")
    with caplog.at_level(logging.WARNING, logger="tale_dspy"):
        new = budgeted(program)
    assert (type(new.router), type(new.solve)) == (Own, TaleEP)
    assert [r.message for r in caplog.records] == ["Own has a forward or predictor of its own and is not budgeted"]


def test_a_compiled_module_stays_frozen() -> None:
    program = Two()
    program.solve._compiled = True
    new = budgeted(program)
    assert type(new.solve) is TaleEP
    assert [name for name, _ in new.named_predictors()] == [
        "router.predict",
        "router.estimator.predict",
        "direct",
    ]


def test_our_own_chain_of_thought_is_budgeted_with_its_adapter_and_what_it_saw() -> None:
    module = VanillaCoT("question -> answer", adapter=TaleAdapter(task="cloze"))
    module.seen.add(["id"], "train")
    new = budgeted(module)
    assert (type(new), new.adapter.task, new.seen.roles) == (TaleEP, "cloze", {"id": "train"})


def test_what_is_budgeted_already_is_left_alone() -> None:
    program = Two()
    program.router = TaleEP("question -> topic", estimator=dspy.ChainOfThought("question -> token_budget: int"))
    new = budgeted(program)
    assert type(new.router.estimator) is dspy.ChainOfThought


def test_one_estimator_can_serve_all() -> None:
    estimator = BudgetEstimator("question -> x", ceiling=30)
    new = budgeted(Two(), estimator=estimator)
    assert new.router.estimator is new.solve.estimator is estimator


@pytest.mark.parametrize("kind", [dspy.Reasoning, str])
def test_the_kind_of_reasoning_is_kept(kind: Any) -> None:
    new = budgeted(dspy.ChainOfThought("question -> answer", rationale_field_type=kind))
    with dspy.context(lm=fake_lm(solve)):
        pred = new(question="3+4?")
    assert isinstance(pred.reasoning, kind)
    assert (str(pred.reasoning), pred.token_budget) == ("7", 70)


def weather(city: str) -> str:
    """Tell the weather."""
    return f"sun in {city}"


def test_react_is_budgeted_whole() -> None:
    agent = budgeted(dspy.ReAct("question -> answer", tools=[weather]), include=["react"])
    step = "Next Thought: [[look]]\nNext Tool Name: [[{}]]\n[[ ## next_tool_args ## ]]\n{}"
    replies = [step.format("weather", '{"city": "Bonn"}'), step.format("finish", "{}"), "Sun.\nAnswer: [[sun]]"]
    lm = fake_lm(*(r for reply in replies for r in ("Budget: [[50]]", reply)))
    with dspy.context(lm=lm, adapter=TaleAdapter()):
        assert agent(question="Bonn?").answer == "sun"
    assert [type(m).__name__ for m in (agent.react, agent.extract)] == ["TaleEP", "TaleEP"]
    assert len(lm.prompts) == 6


# ---- states


def test_a_state_saved_before_loads_by_name_and_one_saved_after_too(tmp_path: Path) -> None:
    plain = Two()
    for predictor in plain.predictors():
        predictor.signature = predictor.signature.with_instructions("Rewritten.")
    plain.save(tmp_path / "plain.json")
    new = budgeted(Two(), include=["direct"])
    new.load(tmp_path / "plain.json")
    new.router.limits.value = new.router.limits.value.__class__(floor=7)
    new.save(tmp_path / "new.json")
    other = budgeted(Two(), include=["direct"])
    other.load(tmp_path / "new.json")
    rewritten = [n for n, p in other.named_predictors() if p.signature.instructions == "Rewritten."]
    assert rewritten == ["router.predict", "direct.predict", "solve.predict"]
    assert other.router.limits.value.floor == 7


def test_a_state_of_another_program_is_refused_by_the_name_of_the_predictor(tmp_path: Path) -> None:
    other = Two()
    other.solve = dspy.ChainOfThought("topic, question -> answer")
    other.save(tmp_path / "p.json")
    new = budgeted(Two())
    before = json.dumps(new.dump_state())
    with pytest.raises(StateError, match=r"solve\.predict: .*not loaded"):
        new.load(tmp_path / "p.json")
    assert json.dumps(new.dump_state()) == before


def test_copies_and_pickles_load_into_themselves(tmp_path: Path) -> None:
    plain = Two()
    plain.router.predict.signature = plain.router.predict.signature.with_instructions("Rewritten.")
    plain.save(tmp_path / "p.json")
    new = budgeted(Two())
    for duplicate in (new.deepcopy(), pickle.loads(cloudpickle.dumps(new))):
        duplicate.load(tmp_path / "p.json")
        assert duplicate.router.predict.signature.instructions == "Rewritten."
    assert new.router.predict.signature.instructions != "Rewritten."


def test_a_copy_of_a_program_with_a_lock_loads_into_itself(tmp_path: Path) -> None:
    plain = Two()
    plain.router.predict.signature = plain.router.predict.signature.with_instructions("Rewritten.")
    plain.save(tmp_path / "p.json")
    program = Two()
    program.router.lock = threading.Lock()
    new = budgeted(program, exclude=["router"])
    duplicate = copy_program(new)
    duplicate.load(tmp_path / "p.json")
    assert duplicate.router.predict.signature.instructions == "Rewritten."
    assert new.router.predict.signature.instructions != "Rewritten."


def test_a_load_state_of_the_user_is_not_replaced() -> None:
    class Loads(Two):
        def load_state(self, state: Any, **kwargs: Any) -> None:
            self.loaded = state

    new = budgeted(Loads())
    new.load_state(5)
    assert new.loaded == 5


# ---- a compiled program


class Hops(dspy.Module):
    """Two hops of retrieval, then an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.query = [dspy.ChainOfThought("context, question -> query") for _ in range(2)]
        self.answer = dspy.ChainOfThought("context, question -> answer")

    def forward(self, question: str) -> Any:
        context: list[str] = []
        for hop in self.query:
            context.append(f"found {hop(context=context, question=question).query}")
        return self.answer(context=context, question=question)


def test_a_compiled_retrieval_program_keeps_what_the_optimizer_found() -> None:
    lm = fake_lm(lambda p: sections(p, "Think hard."))
    train = [dspy.Example(question=f"{n}?", answer="Think hard.").with_inputs("question") for n in range(4)]
    optimizer = MIPROv2(
        metric=lambda example, pred, trace=None: pred.answer == example.answer, prompt_model=lm, task_model=lm,
        auto=None, num_candidates=2, max_bootstrapped_demos=1, max_labeled_demos=1, num_threads=1,
    )  # fmt: skip
    with dspy.context(lm=lm):
        compiled = optimizer.compile(
            Hops(), trainset=train, valset=train, num_trials=2, minibatch=False, data_aware_proposer=False,
            tip_aware_proposer=False, fewshot_aware_proposer=False,
        )  # fmt: skip
        compiled.answer.predict.signature = compiled.answer.predict.signature.with_instructions("Think hard.")
        new = budgeted(compiled)
        pred = new(question="3?")
    assert pred.answer == "Think hard."
    assert new.answer.predict.signature.instructions == "Think hard."
    assert [len(h.predict.demos) for h in new.query] == [len(h.predict.demos) for h in compiled.query]
    assert new.answer.predict.demos == compiled.answer.predict.demos


# ---- and back


def test_unbudgeted_undoes_it() -> None:
    program = budgeted(dspy.ChainOfThought("question -> answer", temperature=0.3))
    program.predict.demos = [dspy.Example(question="1+1?", reasoning="2", answer="2", token_budget=5)]
    plain = unbudgeted(program)
    assert type(plain) is VanillaCoT and plain.predict.config == {"temperature": 0.3}
    assert list(plain.predict.signature.fields) == ["question", "reasoning", "answer"]
    lm = fake_lm(sections)
    with dspy.context(lm=lm):
        assert plain(question="2+2?").token_budget is None
    assert "tokens" not in str(lm.fake.requests[-1].messages) and len(lm.fake.requests[-1].messages) == 3
    assert isinstance(program, TaleEP) and program.predict.demos[0].token_budget == 5


def test_unbudgeted_reaches_into_a_program_and_keeps_the_rest() -> None:
    class Two(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.steps = [BudgetedChainOfThought("question -> topic", 9), dspy.Predict("topic -> answer")]
            self.same = self.steps[0]

    program = Two()
    plain = unbudgeted(program)
    assert type(plain.steps[0]) is VanillaCoT and plain.same is plain.steps[0]
    assert type(plain.steps[1]) is dspy.Predict and program.same is program.steps[0]


@pytest.mark.parametrize("program", [3, dspy.ChainOfThought("question -> answer")])
def test_what_has_no_budget_cannot_be_unbudgeted(program: Any) -> None:
    with pytest.raises(UsageError, match=r"unbudgeted takes a dspy\.Module|no budget can be taken off"):
        unbudgeted(program)


def test_on_truncation_and_shadow_rate_hold_for_every_twin_and_are_saved(tmp_path: Path) -> None:
    program = budgeted(Two(), include=["direct"], on_truncation="force_answer", shadow_rate=0.25)
    twins = [program.router, program.direct, program.solve]
    assert {(t.on_truncation, t.shadow_rate.share) for t in twins} == {("force_answer", 0.25)}
    program.save(tmp_path / "p.json")
    other = budgeted(Two(), include=["direct"])
    other.load(tmp_path / "p.json")
    assert {(t.on_truncation, t.shadow_rate.share) for t in (other.router, other.direct, other.solve)} == {
        ("force_answer", 0.25)
    }
    for options, message in (
        ({"on_truncation": "pray"}, "on_truncation must be"),
        ({"shadow_rate": 2}, "shadow_rate must be a share"),
    ):
        with pytest.raises(UsageError, match=message):
            budgeted(Two(), **options)


def test_a_vanilla_modules_own_recovery_is_kept() -> None:
    assert budgeted(VanillaCoT("question -> answer", on_truncation="force_answer")).on_truncation == "force_answer"
    assert (
        budgeted(
            VanillaCoT("question -> answer", on_truncation="force_answer"), on_truncation="retry_larger"
        ).on_truncation
        == "retry_larger"
    )


# ---- what was set on an instance


def test_a_forward_set_on_the_instance_is_left_alone_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    class Program(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.plain, self.compiled = dspy.ChainOfThought("a -> b"), dspy.ChainOfThought("c -> d")

    program = Program()
    program.compiled.forward = lambda **kwargs: dspy.Prediction(d="by demos")  # as dspy.KNNFewShot does
    new = budgeted(program)
    assert (type(new.plain), new.compiled(c="x").d) == (TaleEP, "by demos")
    assert "compiled by KNNFewShot" in caplog.text
    with pytest.raises(UsageError, match="nothing to budget"):
        budgeted(program.compiled)


def test_an_attribute_set_on_the_instance_is_kept() -> None:
    cot = dspy.ChainOfThought("question -> answer")
    cot.owner = "team a"
    assert budgeted(cot).owner == "team a"


def test_an_adapter_is_given_to_the_budgeted_modules_alone() -> None:
    adapter = dspy.ChatAdapter()
    assert budgeted(dspy.ChainOfThought("question -> answer"), adapter=adapter).adapter is adapter


def test_a_budgeted_state_loads_into_a_plain_chain_of_thought_unshifted(tmp_path: Path) -> None:
    class Described(dspy.Signature):
        """Answer like a pirate."""

        question: str = dspy.InputField(desc="from a child")
        answer: str = dspy.OutputField(desc="in one word")

    module = budgeted(dspy.ChainOfThought(Described))
    module.predict.demos = [dspy.Example(question="Q", token_budget=9, reasoning="R", answer="A")]
    module.save(tmp_path / "p.json")
    plain = dspy.ChainOfThought(Described)
    before = plain.predict.signature.dump_state()
    plain.load(tmp_path / "p.json")
    assert plain.predict.signature.dump_state() == before
    assert dict(plain.predict.demos[0]) == {"question": "Q", "token_budget": 9, "reasoning": "R", "answer": "A"}
