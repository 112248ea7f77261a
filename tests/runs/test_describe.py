"""What `run.json` says: all that decides the result, nothing secret."""

import json
from pathlib import Path
from typing import Any

import dspy
import pytest

import tale_dspy
from tale_dspy.errors import UsageError
from tale_dspy.ids import example_id
from tale_dspy.runs.describe import describe_run, prompting, state_hash
from tale_dspy.runs.options import RunOptions
from tale_dspy.runs.questions import QuestionStream

EXAMPLE = dspy.Example(question="1+1?", answer="2").with_inputs("question")
ASKED = example_id(EXAMPLE, "answer")


def described(program: Any = None, lm: Any = None, metric: Any = None, **options: Any) -> dict[str, Any]:
    questions = QuestionStream([EXAMPLE], "answer", "auto")
    program = program or tale_dspy.VanillaCoT("question -> answer")
    lm = lm or tale_dspy.LM("openai/x")
    return describe_run(program, lm, questions, metric, RunOptions(**options), [EXAMPLE])


def test_the_feature_release_of_dspy_is_part_of_what_decides_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    assert described()["config"]["dspy"] == ".".join(dspy.__version__.split(".")[:2])
    monkeypatch.setattr("tale_dspy.runs.describe.version", lambda package: "3.5.2")
    assert described()["config"]["dspy"] == "3.5"


def address_of(api_base: str) -> tuple[str | None, str | None]:
    info = described(lm=tale_dspy.LM("openai/x", api_base=api_base))
    return info["config"]["address"], info["address"]


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": "s3cret"},
        {"headers": {"Authorization": "Bearer s3cret"}},
        {"extra_headers": {"x-key": "s3cret"}},
        {"azure_ad_token": "s3cret"},
        {"aws_secret_access_key": "s3cret", "aws_session_token": "s3cret", "aws_access_key_id": "s3cret"},
        {"vertex_credentials": '{"private": "s3cret"}'},
        {"extra_body": {"api_key": "s3cret", "seed": 1}},
        {"api_base": "http://me:s3cret@host/v1"},
        {"api_base": "https://host/v1?api-key=s3cret"},
        {"api_base": "https://s3cret@host/v1"},
    ],
)
def test_no_secret_is_described(settings: dict[str, Any]) -> None:
    assert "s3cret" not in json.dumps(described(lm=tale_dspy.LM("openai/x", **settings)), default=repr)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:8000/v1",
        "http://127.9.9.9:1",
        "http://localhost:11434",
        "http://[::1]:80/v1",
        "http://0.0.0.0:1/v1",
    ],
)
def test_another_port_on_this_machine_is_the_same_server(address: str) -> None:
    compared, recorded = address_of(address)
    assert compared == "loopback" and recorded and recorded.startswith(address)


@pytest.mark.parametrize(
    ("address", "compared"),
    [
        ("https://host:8443/v1", "https://host:8443/v1"),
        ("https://Host.example/v1", "https://host.example/v1"),
        ("https://localhost.example.com/v1", "https://localhost.example.com/v1"),
        ("http://127.example.com/v1", "http://127.example.com/v1"),
        ("http://10.0.0.1:8000/v1", "http://10.0.0.1:8000/v1"),
        ("http://[2001:db8::1]:8000/v1", "http://[2001:db8::1]:8000/v1"),
        ("http://host:notaport/v1", None),
        ("http://[broken/v1", None),
        ("nonsense", None),
    ],
)
def test_another_host_is_another_server(address: str, compared: str | None) -> None:
    assert address_of(address) == (compared, compared)


def changed(change: Any, program: Any = None) -> bool:
    """Whether a change of a copy of a program changes its hash."""
    before = program or tale_dspy.TaleEP("question -> answer")
    after = before.deepcopy()
    change(after)
    return state_hash(after) != state_hash(before)


def with_demo(program: Any) -> None:
    program.predict.demos = [dspy.Example(question="q", answer="a", token_budget=3)]


def with_instructions(program: Any) -> None:
    program.predict.signature = program.predict.signature.with_instructions("Be brief.")


@pytest.mark.parametrize(
    "change",
    [
        with_demo,
        with_instructions,
        lambda p: p.predict.config.update(temperature=0.7),
        lambda p: setattr(p.limits, "value", tale_dspy.BudgetLimits(scale=2.0)),
        lambda p: setattr(p.limits, "value", tale_dspy.BudgetLimits(ceiling=100)),
        lambda p: setattr(p, "passages", 5),
        lambda p: setattr(p, "stages", ["first", "second"]),
        lambda p: setattr(p.estimator, "retries", 2),
    ],
)
def test_what_changes_a_prompt_changes_the_hash(change: Any) -> None:
    assert changed(change)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: None,
        lambda p: p.predict.traces.append({"question": "q"}),
        lambda p: p.predict.train.append(EXAMPLE),
        lambda p: p.history.append({"prompt": "x"}),
        lambda p: p.seen.add(["a"], "train"),
        lambda p: p.set_lm(tale_dspy.LM("openai/y")),
        lambda p: setattr(p, "_cache", 5),
        lambda p: setattr(p, "tool", print),
    ],
)
def test_what_changes_no_prompt_keeps_the_hash(change: Any) -> None:
    assert not changed(change)


def test_a_budget_deep_inside_a_program_changes_the_hash() -> None:
    class Outer(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.steps = [tale_dspy.BudgetedChainOfThought("question -> answer", 50)]

    assert changed(lambda p: setattr(p.steps[0], "token_budget", 60), Outer())


def test_the_hash_is_the_same_in_another_process_or_after_saving(tmp_path: Path) -> None:
    program = tale_dspy.TaleEP("question -> answer", scale=1.5)
    with_demo(program)
    program.save(tmp_path / "p.json")
    assert state_hash(tale_dspy.load(tmp_path / "p.json")) == state_hash(program)
    assert state_hash(tale_dspy.VanillaCoT("q -> a")) == state_hash(tale_dspy.VanillaCoT("q -> a"))


def test_an_object_in_the_settings_does_not_hash_by_its_address() -> None:
    hashes = {state_hash(tale_dspy.VanillaCoT("q -> a", stop=[thing])) for thing in (object(), object())}
    assert len(hashes) == 1


def test_models_of_single_predictors_are_reported() -> None:
    program = tale_dspy.TaleEP("question -> answer")
    assert "own_models" not in described(program)["config"]
    program.estimator.predict.lm = tale_dspy.LM("openai/small")
    assert described(program)["config"]["own_models"] == {"estimator.predict": "openai/small"}


def test_prompting_leaves_estimators_out() -> None:
    program = tale_dspy.TaleEP("question -> answer")
    bare = prompting(program)
    program.estimator.predict.demos = [dspy.Example(question="q", token_budget="5")]
    assert prompting(program) == bare and len(bare) == 1
    with_demo(program)
    assert prompting(program) != bare


def test_names_metric_adapter_and_versions_are_reported() -> None:
    info = described(
        metric=len, name="mine", adapter=dspy.JSONAdapter(), provenance="simulated", config={"preset": "paper"}
    )
    config = info["config"]
    assert info["program"] == {"name": "mine", "class": "VanillaCoT"} and info["provenance"] == "simulated"
    assert (config["metric"], config["adapter"], config["preset"]) == ("builtins:len", "JSONAdapter", "paper")
    assert described()["config"]["metric"] == "answer equality"
    assert {"python", "tale-dspy", "dspy", "litellm"} <= info["versions"].keys()


def test_a_metric_object_is_named_by_its_class() -> None:
    class Judge:
        def __call__(self, example: Any, pred: Any) -> bool:
            return True

    assert described(metric=Judge())["config"]["metric"].endswith(":Judge")


def test_questions_a_program_was_tuned_on_are_refused_or_marked() -> None:
    program = tale_dspy.VanillaCoT("question -> answer")
    program.seen.add([ASKED, "zz"], "train")
    with pytest.raises(UsageError, match=r"1 of 1 questions were used to make this program \(train\)"):
        described(program)
    info = described(program, allow_leak=True)
    assert info["contaminated"] is True and info["seen"] == sorted([ASKED, "zz"])
    with pytest.raises(UsageError, match=r"\(search\)"):
        described(seen={ASKED: "search"})
    assert described(seen={"zz": "search"})["contaminated"] is False


def test_what_decides_no_answer_is_not_hashed() -> None:
    assert state_hash(tale_dspy.TaleEP("question -> answer", shadow_rate=0.5)) == state_hash(
        tale_dspy.TaleEP("question -> answer")
    )
    # What it was before a module could be told how to ask models that think natively.
    assert state_hash(tale_dspy.VanillaCoT("question -> answer")) == "57d3d090a9a18b6e"
    assert state_hash(tale_dspy.VanillaCoT("question -> answer", mode="prompt")) != "57d3d090a9a18b6e"
