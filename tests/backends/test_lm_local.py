"""`tale_dspy.LM` over a model of this process: what DSPy's modules, its cache and a saved program make of it."""

import asyncio
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.lm15 import Config, Message, Request
from tiny_models import ENDS, changed, held, make_adapter, make_model

import tale_dspy
from tale_dspy import UsageError
from tale_dspy.backends.caching import is_cached

HOT: dict[str, Any] = {"temperature": 1.0, "max_tokens": 30}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers.utils import logging

    logging.disable_progress_bar()
    return make_model(tmp_path_factory.mktemp("models") / "tiny", max_position_embeddings=2048)


@pytest.fixture
def lm(folder: Path) -> Any:
    return tale_dspy.LM(f"local:{folder}", **HOT)


def called(lm: Any, *args: Any, **kwargs: Any) -> Any:
    return lm(*args, **kwargs)


def awaited(lm: Any, *args: Any, **kwargs: Any) -> Any:
    return asyncio.run(lm.acall(*args, **kwargs))


@pytest.fixture(params=[called, awaited])
def door(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return request.param  # type: ignore[no-any-return]


# Calls


def test_a_call_and_an_awaited_call_draw_the_same(lm: Any) -> None:
    assert called(lm, "q") == awaited(lm, "q")
    request = Request(
        model=lm.model, messages=(Message.user("q"),), system="s", config=Config(temperature=1.0, max_tokens=9)
    )
    assert called(lm, request).message == awaited(lm, request).message


def test_each_of_n_choices_is_a_draw_of_its_own(lm: Any, door: Any) -> None:
    three = door(lm, "q", n=3)
    assert len(set(three)) == 3
    assert door(lm, "q", n=2) == three[:2]
    assert door(lm, "q") == three[:1]


def test_choices_are_written_together(lm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, batch, _ = lm.engine.load()
    decoder, rows = batch._decoder, []

    def watched(ids: Any, *args: Any) -> Any:
        rows.append(ids.shape[0])
        return decoder(ids, *args)

    monkeypatch.setattr(batch, "_decoder", watched)
    lm("another", n=5)
    assert max(rows) > 1


def test_a_rollout_id_is_another_draw_and_always_the_same(lm: Any, door: Any) -> None:
    replies = [door(lm, "q", rollout_id=i, cache=False)[0] for i in (None, 1, 2, 1, None)]
    assert replies[3:] == [replies[1], replies[0]]
    assert len(set(replies)) == 3


def test_a_seed_is_another_draw(lm: Any, door: Any) -> None:
    assert len({door(lm, "q", seed=seed)[0] for seed in (0, 1, 2)}) == 3
    assert door(lm.copy(seed=1), "q") == door(lm, "q", seed=1)


def test_without_a_temperature_it_takes_the_likeliest(folder: Path, door: Any) -> None:
    greedy = tale_dspy.LM(f"local:{folder}", max_tokens=30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert door(greedy, "q") == door(greedy, "q", temperature=0) == door(greedy, "q", seed=5)


def test_usage_finish_and_price_are_reported(lm: Any) -> None:
    lm("q", max_tokens=1)
    entry = lm.history[-1]
    assert (entry["usage"]["completion_tokens"], entry["cost"], entry["cache_hit"]) == (1, 0.0, False)
    assert entry["usage"]["prompt_tokens"] == len("." + "user\nq" + "." + "\n" + "." + "assistant\n")
    assert entry["response"].finish_reason == "length"
    lm("q", max_tokens=1)
    assert (lm.history[-1]["cost"], lm.history[-1]["cache_hit"]) == (0.0, True)


def test_a_call_that_takes_too_long_is_given_up(lm: Any, door: Any) -> None:
    from dspy.utils.exceptions import LMTimeoutError

    late = tale_dspy.LM(lm.model, timeout=0.01, num_retries=0, **HOT)
    with held(late.engine), pytest.raises(LMTimeoutError, match="took longer than"):
        door(late, "late")
    assert late.copy(timeout=None)("late")
    with pytest.raises(UsageError, match="timeout must be a number of seconds above 0, got -1"):
        late.copy(timeout=-1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"api_base": "http://127.0.0.1:1"}, "runs in this process: it takes no api_base"),
        ({"api_key": "k"}, "takes no api_key"),
        ({"timeout": 0}, "timeout must be a number of seconds above 0, got 0"),
        ({"timeout": "9"}, "timeout must be a number"),
        ({"device": "nothing"}, None),
        ({"dtype": "int3"}, "dtype must be one of"),
        ({"max_batch": 0}, "max_batch must be"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(folder: Path, settings: Any, message: str | None, door: Any) -> None:
    with pytest.raises(UsageError, match=message or "device must be one of torch's"):
        door(tale_dspy.LM(f"local:{folder}", **settings), "q")


def test_a_setting_it_would_not_obey_is_refused(lm: Any, door: Any) -> None:
    with pytest.raises(dspy.utils.exceptions.LMUnsupportedFeatureError, match="frequency_penalty"):
        door(lm, "q", frequency_penalty=1.0)


def test_a_file_that_broke_since_is_told_as_itself(folder: Path, tmp_path: Path, door: Any) -> None:
    lm = tale_dspy.LM(f"local:{make_model(tmp_path / 'm')}")
    path = tmp_path / "m" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(tale_dspy.DataError, match="is no whole safetensors file"):
        door(lm, "q")


def test_a_folder_named_like_a_reasoning_model_is_none(tmp_path: Path) -> None:
    lm = tale_dspy.LM(f"local:{make_model(tmp_path / 'gpt-5')}", temperature=0.5, max_tokens=3)
    assert (lm.kwargs["max_tokens"], len(lm("q"))) == (3, 1)


# Copies


def test_a_copy_shares_the_weights_and_one_with_another_model_has_its_own(folder: Path, tmp_path: Path) -> None:
    lm = tale_dspy.LM(f"local:{folder}", max_batch=3, timeout=50, **HOT)
    other = make_model(tmp_path / "other", seed=3)
    same, moved = lm.copy(temperature=0.5), lm.copy(model=f"local:{other}")
    assert same.engine is lm.engine
    assert (moved.engine.model, moved.engine.options["max_batch"], moved.local_timeout) == (f"local:{other}", 3, 50)
    assert moved.kwargs == lm.kwargs
    assert moved("q") == tale_dspy.LM(f"local:{other}", **HOT)("q") != lm("q")
    assert awaited(moved, "q") == moved("q")


def test_a_copy_may_have_other_options(lm: Any) -> None:
    wide = lm.copy(max_batch=7)
    assert (wide.engine.options["max_batch"], lm.engine.options["max_batch"]) == (7, None)
    assert "max_batch" not in wide.kwargs
    assert wide("q") == lm("q")


def test_a_copy_behind_a_server_is_no_local_model_any_more(lm: Any) -> None:
    served = lm.copy(model="openai/x", engine="litellm", timeout=5)
    assert (served.engine, served.identity, served.local_timeout) == ("litellm", None, None)
    assert served.kwargs["timeout"] == 5


def test_deep_copies_of_a_program_share_the_weights(lm: Any) -> None:
    program = dspy.Predict("question -> answer")
    program.set_lm(lm)
    assert program.deepcopy().lm.engine is lm.engine


# The cache


def test_a_hit_is_a_hit_for_all_lms_of_the_same_files(lm: Any, folder: Path, door: Any) -> None:
    first = door(lm, "cached")
    again = tale_dspy.LM(f"local:{folder}", **HOT)
    assert is_cached(again, "cached", None, {}, asynchronous=door is awaited)
    assert door(again, "cached") == first
    assert (again.history[-1]["cache_hit"], again.engine.loaded) == (True, False)


def retrained(path: Path, seed: int) -> Path:
    return make_model(path, seed=seed)


@pytest.mark.parametrize("asked_before", [False, True], ids=["unread", "read"])
def test_a_retrained_folder_never_shares_an_answer(tmp_path: Path, door: Any, asked_before: bool) -> None:
    model = f"local:{retrained(tmp_path / 'm', 0)}"
    fresh = tale_dspy.LM(model, **HOT)
    if asked_before:  # an identity that was read before the files changed must not stick
        assert fresh.identity
    old = tale_dspy.LM(model, **HOT)
    before = door(old, "q")
    retrained(tmp_path / "m", 1)
    new = tale_dspy.LM(model, **HOT)
    after = [door(new, "q"), door(fresh, "q")]
    assert after[0] == after[1] != before
    assert door(old, "q") == door(old, "q", cache=False) == before  # its weights are still those it has loaded
    assert old.identity != new.identity == fresh.identity


def test_files_written_while_they_are_loaded_are_not_taken_for_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tale_dspy.backends.local import weights

    lm = tale_dspy.LM(f"local:{make_model(tmp_path / 'm')}", **HOT)
    load = weights.load_model

    def load_and_write(folder: Path, *args: Any) -> Any:
        model = load(folder, *args)
        changed(folder / "generation_config.json", max_new_tokens=5)
        return model

    with monkeypatch.context() as patch:
        patch.setattr(weights, "load_model", load_and_write)
        with pytest.raises(tale_dspy.DataError, match="was written anew while it was loaded: call again"):
            lm("q")
    assert lm("q")


def test_an_adapter_is_another_model_and_its_retraining_too(folder: Path, tmp_path: Path, door: Any) -> None:
    replies, provenances = [], []
    for seed in (1, 2):
        tuned = tale_dspy.LM(f"local:{folder}+{make_adapter(tmp_path / 'a', folder, seed=seed)}", **HOT)
        replies.append(door(tuned, "q"))
        provenances.append(tuned.identity)
    plain = tale_dspy.LM(f"local:{folder}", **HOT)
    assert len({str(r) for r in [*replies, door(plain, "q")]}) == 3
    assert len({*provenances, plain.identity}) == 3


def test_nothing_of_the_namespace_changes_a_draw(lm: Any, folder: Path, tmp_path: Path) -> None:
    import shutil

    moved = tale_dspy.LM(f"local:{shutil.copytree(folder, tmp_path / 'moved')}", **HOT)
    assert moved("q", rollout_id=4) == lm("q", rollout_id=4, cache=False)


# DSPy's modules


class Count(dspy.Signature):  # type: ignore[misc]
    """Say anything."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


EXAMPLES = [dspy.Example(question=f"q{i}", answer="x").with_inputs("question") for i in range(16)]


@pytest.fixture
def lenient() -> Any:
    """The adapter of this package, that takes any text for an answer."""
    return tale_dspy.TaleAdapter()


@pytest.mark.parametrize("module", [dspy.Predict, dspy.ChainOfThought])
def test_modules_of_dspy_ask_it_in_any_way(lm: Any, lenient: Any, module: Any) -> None:
    program = module(Count)

    async def gathered() -> list[Any]:
        return list(await asyncio.gather(*(program.acall(**e.inputs()) for e in EXAMPLES)))

    with dspy.context(lm=lm, adapter=lenient, track_usage=True):
        alone = [program(**e.inputs()) for e in EXAMPLES]
        with dspy.context(lm=lm.copy(cache=False)):
            threads = program.batch(EXAMPLES, num_threads=8, disable_progress_bar=True)
            tasks = asyncio.run(gathered())
    assert [p.toDict() for p in alone] == [p.toDict() for p in threads] == [p.toDict() for p in tasks]
    usage = [p.get_lm_usage()[lm.model] for p in alone]
    assert all(0 < u["completion_tokens"] <= 30 and u["prompt_tokens"] for u in usage)


def test_evaluate_asks_it_in_threads(lm: Any, lenient: Any) -> None:
    evaluate = dspy.Evaluate(
        devset=EXAMPLES, metric=lambda e, p, trace=None: 1.0, num_threads=16, display_progress=False
    )
    with dspy.context(lm=lm, adapter=lenient):
        result = evaluate(dspy.ChainOfThought(Count))
    assert (result.score, len(result.results), len(lm.history)) == (100.0, 16, 16)


@pytest.mark.parametrize("module", ["BestOfN", "Refine"])
def test_modules_that_count_rollout_ids_up_get_fresh_draws(lm: Any, lenient: Any, module: str) -> None:
    rollouts: list[str] = []

    def reward(args: Any, pred: Any) -> float:
        rollouts.append(str(pred.answer) + pred.reasoning)
        return 1.0 if len(rollouts) == 3 else 0.0

    program = vars(dspy)[module](dspy.ChainOfThought(Count), N=3, reward_fn=reward, threshold=1.0)
    with dspy.context(lm=lm.copy(max_tokens=12), adapter=lenient):
        program(question="q")
    assert len(set(rollouts)) == 3


def test_tale_ep_and_its_run_cost_nothing(lm: Any, tmp_path: Path) -> None:
    program = tale_dspy.TaleEP("question -> answer")
    run = tale_dspy.evaluate(program, EXAMPLES[:6], lm=lm, out=tmp_path / "run", max_usd=0.01)
    records = [json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().split("\n") if line]
    assert len(records) == run.summary["n"] == 6
    assert {r["cost_usd"] for r in records} == {0.0}
    assert all(r["output_tokens"] and r["estimate_tokens"] for r in records)
    assert json.loads((tmp_path / "run" / "run.json").read_text())


def test_a_program_streams_as_a_whole(lm: Any, lenient: Any) -> None:
    async def streamed() -> list[Any]:
        with dspy.context(lm=lm, adapter=lenient):
            return [part async for part in dspy.streamify(dspy.Predict(Count))(question="q")]

    with dspy.context(lm=lm, adapter=lenient):
        wanted = dspy.Predict(Count)(question="q").answer
    assert [p.answer for p in asyncio.run(streamed()) if isinstance(p, dspy.Prediction)] == [wanted]


# Saving


CHILD = """
import sys, json, tale_dspy
program = tale_dspy.load(sys.argv[1])
lm = program.predict.lm
print(json.dumps([type(lm).__name__, lm.model, lm.engine.options, lm.kwargs, lm("q")]))
"""


def test_a_saved_program_finds_its_model_again_in_another_process(folder: Path, tmp_path: Path) -> None:
    lm = tale_dspy.LM(f"local:{folder}", max_batch=5, **HOT)
    program = tale_dspy.VanillaCoT("question -> answer")
    program.set_lm(lm)
    program.save(tmp_path / "p.json")
    again = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path / "p.json")], capture_output=True, text=True)
    assert (again.returncode, again.stderr.count("not taken from a file")) == (0, 0), again.stderr
    kind, model, options, kwargs, reply = json.loads(again.stdout)
    assert (kind, model, options["max_batch"]) == ("LM", lm.model, 5)
    assert (kwargs["temperature"], kwargs["max_tokens"]) == (1.0, 30)
    assert reply == lm("q")


def test_a_program_whose_model_is_gone_is_refused(folder: Path, tmp_path: Path) -> None:
    program = tale_dspy.VanillaCoT("question -> answer")
    program.set_lm(tale_dspy.LM(f"local:{make_model(tmp_path / 'm')}"))
    program.save(tmp_path / "p.json")
    (tmp_path / "m").rename(tmp_path / "n")
    with pytest.raises(UsageError, match="the model must be a folder or a name of the Hugging Face hub"):
        tale_dspy.load(tmp_path / "p.json")


def test_the_state_holds_no_engine_and_no_weights(folder: Path) -> None:
    lm = tale_dspy.LM(f"local:{folder}", dtype="bfloat16", **HOT)
    state = json.loads(json.dumps(lm.dump_state()))
    assert (state["model"], state["engine"], state["dtype"]) == (lm.model, "litellm", "bfloat16")
    assert "async_engine" not in state


# Many at once


def test_threads_and_tasks_may_ask_at_the_same_time(folder: Path) -> None:
    lm = tale_dspy.LM(f"local:{folder}", cache=False, **HOT)
    alone = [lm(f"q{i}") for i in range(12)]

    async def gathered() -> list[Any]:
        return list(await asyncio.gather(*(lm.acall(f"q{i}") for i in range(12))))

    with ThreadPoolExecutor(16) as pool:
        loops = [pool.submit(asyncio.run, gathered()) for _ in range(3)]
        calls = [pool.submit(lm, f"q{i}") for i in range(12)]
        assert [c.result() for c in calls] == alone
        assert [loop.result() for loop in loops] == [alone] * 3


def test_the_event_loop_goes_on_while_a_model_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tale_dspy.backends.local import weights

    load, ticks = weights.load_model, 0

    def slow(*args: Any) -> Any:
        time.sleep(0.2)
        return load(*args)

    monkeypatch.setattr(weights, "load_model", slow)
    lm = tale_dspy.LM(f"local:{make_model(tmp_path / 'm', ends=[*ENDS])}", **HOT)

    async def run() -> None:
        nonlocal ticks
        call = asyncio.create_task(lm.acall("q"))
        while not call.done():
            ticks += 1
            await asyncio.sleep(0.005)

    asyncio.run(run())
    assert ticks > 5
