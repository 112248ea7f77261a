"""Tokens a second of a model in this process: many callers, one after another, `transformers serve`, `generate`.

    python benchmarks/local.py                               # the embedded model, 64 questions, 32 callers
    python benchmarks/local.py --model local:PATH --questions 256 --no-server
    python benchmarks/local.py --model local:PATH --data gsm8k --generate --max-tokens 200 --callers 64 --no-one
    python benchmarks/local.py --threads 1 2                 # threads of PyTorch, on an idle machine and on a busy one

The questions are those of `embedded:test`, or of `--data`, in the prompt of the vanilla chain of thought, answered
greedily: the median of some alternating rounds. The same questions go to `transformers serve --continuous-batching`, a
process of its own, from as many threads, and with `--generate` to the same weights by `generate` of transformers, in
padded batches of as many rows, in the order of the data (with `--dtype int8` in the files' precision), in a process of
its own, too, since teams of OpenMP threads slow each other down. Then it is counted how many replies are the same among
others as alone, and in another order.
"""

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

CALLERS = 32


class TimedReply(NamedTuple):
    """One reply."""

    text: str
    tokens: int


class Round(NamedTuple):
    """All replies, and the seconds they took together."""

    replies: list[TimedReply]
    seconds: float

    @property
    def rate(self) -> float:
        return sum(reply.tokens for reply in self.replies) / self.seconds


Ask = Callable[[list[dict[str, str]]], TimedReply]


def prompts(count: int, data: str = "embedded:test") -> list[list[dict[str, str]]]:
    """Return the messages of the vanilla chain of thought for the first questions of a data set."""
    import tale_dspy

    examples = tale_dspy.load_dataset(data).take(limit=count).examples
    signature = tale_dspy.VanillaCoT("question -> answer").predict.signature
    adapter = tale_dspy.TaleAdapter()
    return [adapter.format(signature, [], {"question": example.question}) for example in examples]


def ask_all(ask: Ask, requests: list[Any], callers: int) -> Round:
    """Ask all questions from so many threads."""
    with ThreadPoolExecutor(callers) as pool:
        start = time.perf_counter()
        replies = list(pool.map(ask, requests))
        return Round(replies, time.perf_counter() - start)


def in_process(engine: Any, most: int, **config: Any) -> Ask:
    """Ask the engine, past DSPy and its cache."""
    from dspy.lm15 import Config, Message, Request

    def ask(messages: list[dict[str, str]]) -> TimedReply:
        system = next((m["content"] for m in messages if m["role"] == "system"), None)
        turns = tuple(Message.user(m["content"]) for m in messages if m["role"] == "user")
        request = Request(model="m", messages=turns, system=system, config=Config(max_tokens=most, **config))
        response = engine.complete(request)
        return TimedReply(response.message.text or "", response.usage.output_tokens)

    return ask


def over_http(url: str, model: str, most: int) -> Ask:
    """Ask a server, with as little work on this side as possible."""

    def ask(messages: list[dict[str, str]]) -> TimedReply:
        body = {"model": model, "messages": messages, "max_tokens": most, "temperature": 0.0}
        head = {"content-type": "application/json"}
        request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), head)
        with urllib.request.urlopen(request, timeout=600) as reply:
            completion = json.load(reply)
        return TimedReply(completion["choices"][0]["message"]["content"], completion["usage"]["completion_tokens"])

    return ask


def reference_dtype(dtype: str) -> str:
    """Return the precision `generate` is run with: that of the files beside layers in 8 bits."""
    return "auto" if dtype == "int8" else dtype


def generate_all(engine: Any, requests: list[Any], rows: int, most: int) -> Round:
    """Ask all questions by transformers' own `generate`, in padded batches on the main thread."""
    import torch

    from tale_dspy.backends.local.chat_template import render_prompt
    from tale_dspy.backends.local.weights import load_model, load_prompt_tokenizer

    model = load_model(engine._base_folder, engine.options["device"], reference_dtype(engine.options["dtype"]))
    prompt_tokenizer = load_prompt_tokenizer(engine._base_folder, model)
    tokenizer, ends = prompt_tokenizer._tokenizer, sorted(prompt_tokenizer.ends)
    # Without this PyTorch copies the head's weight once a row: 29 GB for 64 rows of a vocabulary of 152,000.
    model.get_output_embeddings().register_forward_pre_hook(lambda head, args: (args[0].contiguous(), *args[1:]))
    tokenizer.padding_side, tokenizer.pad_token_id = "left", ends[0]
    replies, start = [], time.perf_counter()
    with torch.inference_mode():
        for first in range(0, len(requests), rows):
            texts = [render_prompt(tokenizer, messages) for messages in requests[first : first + rows]]
            ids = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt").to(model.device)
            settings = {"do_sample": False, "max_new_tokens": most, "eos_token_id": ends, "pad_token_id": ends[0]}
            # None of the settings a model's generation_config may hold: greedy here means the likeliest token.
            out = model.generate(**ids, **settings, repetition_penalty=1.0, temperature=None, top_p=None, top_k=None)
            for row in out[:, ids["input_ids"].shape[1] :].tolist():
                end = next((i for i, token in enumerate(row) if token in ends), len(row))
                replies.append(
                    TimedReply(tokenizer.decode(row[:end], skip_special_tokens=True), min(end + 1, len(row)))
                )
    return Round(replies, time.perf_counter() - start)


def generate_apart() -> Round:
    """Measure `generate` in a process of its own, with the flags of this one."""
    command = [sys.executable, *sys.argv, "--only-generate"]
    round_ = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])
    return Round([TimedReply(*reply) for reply in round_["replies"]], round_["seconds"])


def only_generate(args: argparse.Namespace) -> None:
    """Print the replies of `generate`, and the seconds they took, as JSON."""
    from tale_dspy.backends.local.engine import LocalEngine

    engine = LocalEngine(args.model, dtype=args.dtype, max_batch=args.max_batch)
    print(json.dumps(generate_all(engine, prompts(args.questions, args.data), args.callers, args.max_tokens)._asdict()))


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """Start `transformers serve --continuous-batching` with room for all rows."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [Path(sysconfig.get_path("scripts")) / "transformers", "serve", folder, "--device", "cpu"]
    # It takes most of the memory otherwise, which takes minutes; a twentieth holds all rows many times.
    command += ["--continuous-batching", "--cb-max-memory-percent", "0.05", "--host", "127.0.0.1", "--port", port]
    # One thread, as the model here has: with two the server takes minutes where another process has a core.
    env = {"OMP_NUM_THREADS": "1", **os.environ, "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while True:
                with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
                if process.poll() is not None:
                    raise SystemExit("transformers serve did not start: pip install 'transformers[serving]'")
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def compare(args: argparse.Namespace) -> None:
    """Print how many tokens a second each way gives."""
    from tale_dspy.backends.local.engine import LocalEngine
    from tale_dspy.backends.local.model_path import parse_model_path

    requests = prompts(args.questions, args.data)
    engine = LocalEngine(args.model, dtype=args.dtype, max_batch=args.max_batch)
    engine.load()
    here = in_process(engine, args.max_tokens)
    ways: dict[str, tuple[Ask, int]] = {"one after another": (here, 1)} if args.one_by_one else {}
    ways[f"{args.callers} callers"] = (here, args.callers)
    rounds_of: dict[str, list[Round]] = {}
    with contextlib.ExitStack() as stack:
        folder = parse_model_path(args.model).folder
        if args.server and folder is not None:
            ask = over_http(stack.enter_context(server(folder.resolve())), str(folder.resolve()), args.max_tokens)
            ways[f"transformers serve, {args.callers} callers"] = (ask, args.callers)
        for ask, callers in ways.values():  # caches, pools and lazy imports are not measured
            ask_all(ask, requests[: callers if args.one_by_one else 1], callers)
        for _ in range(args.rounds):
            for name, (ask, callers) in ways.items():
                rounds_of.setdefault(name, []).append(ask_all(ask, requests, callers))
            if args.generate:
                rounds_of.setdefault(f"generate, {args.callers} rows", []).append(generate_apart())
    slow = statistics.median(r.rate for r in next(iter(rounds_of.values())))
    print(f"\n{args.model}: {len(requests)} questions, median of {args.rounds} alternating rounds (min - max)")
    print(f"{'':36}{'tokens':>9}{'seconds':>9}{'tokens/s':>10}{'':>18}{'times':>8}")
    for name, rounds in rounds_of.items():
        rates = [r.rate for r in rounds]
        rate, seconds = statistics.median(rates), statistics.median(r.seconds for r in rounds)
        tokens, spread = sum(t.tokens for t in rounds[0].replies), f"({min(rates):.0f} - {max(rates):.0f})"
        print(f"{name:36}{tokens:>9}{seconds:>9.1f}{rate:>10.0f}{spread:>18}{rate / slow:>8.2f}")
    if args.generate:
        name = f"generate, {args.callers} rows"
        here_, there = (rounds_of[n][0].replies for n in (f"{args.callers} callers", name))
        print(f"\nthe same greedy replies as by generate: {_same(here_, there)}")
    if not args.one_by_one:
        return
    one, many = (rounds_of[name][0].replies for name in list(rounds_of)[:2])
    print(f"\nthe same greedy replies alone and among others: {_same(one, many)}")
    again = ask_all(here, requests, 1).replies
    print(f"the same greedy replies, one at a time, twice:  {_same(one, again)}")
    hot = in_process(engine, args.max_tokens, temperature=1.0, seed=1)
    alone = ask_all(hot, requests, 1).replies
    print(f"the same sampled replies, one at a time, twice: {_same(alone, ask_all(hot, requests, 1).replies)}")
    for label, order in (("among others", requests), ("in reverse", requests[::-1])):
        replies = ask_all(hot, order, args.callers).replies
        print(
            f"the same sampled replies {label + ':':23}{_same(alone, replies if order is requests else replies[::-1])}"
        )


def _same(one: list[TimedReply], other: list[TimedReply]) -> str:
    same = sum(a == b for a, b in zip(one, other, strict=True))
    return f"{same} of {len(one)} ({same / len(one):.1%})"


def threads(args: argparse.Namespace) -> None:
    """Print how many tokens a second so many threads of PyTorch give, alone and beside a process that takes a core."""
    print(f"{'threads':>8}{'beside':>16}{'one by one':>12}{f'{args.callers} callers':>12}   tokens a second")
    for beside in (0, 1):
        for count in args.threads:
            spin = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(beside)]
            try:
                command = [sys.executable, __file__, "--one", "--model", args.model, "--questions", str(args.questions)]
                env = {**os.environ, "OMP_NUM_THREADS": str(count)}
                figures = json.loads(subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE).stdout)
            finally:
                for process in spin:
                    process.kill()
            name = "a busy process" if beside else "nothing"
            print(f"{count:>8}{name:>16}{figures['one']:>12.0f}{figures['many']:>12.0f}", flush=True)


def one(args: argparse.Namespace) -> None:
    """Measure both ways once, with the threads this process has."""
    from tale_dspy.backends.local.engine import LocalEngine

    engine, requests = LocalEngine(args.model), prompts(args.questions)
    engine.load()[0].worker.threads = int(os.environ["OMP_NUM_THREADS"])
    ask = in_process(engine, args.max_tokens)
    ask_all(ask, requests[: args.callers], args.callers)
    many = statistics.median(ask_all(ask, requests, args.callers).rate for _ in range(args.rounds))
    print(json.dumps({"one": ask_all(ask, requests[: max(1, len(requests) // 4)], 1).rate, "many": many}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="embedded or local:PATH[+ADAPTER]")
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--callers", type=int, default=CALLERS)
    parser.add_argument("--max-tokens", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-server", dest="server", action="store_false", help="leave out transformers serve")
    parser.add_argument("--threads", type=int, nargs="+", help="compare these numbers of threads instead")
    parser.add_argument("--data", default="embedded:test", help="a data set of `tale eval`")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16, float16 or int8")
    parser.add_argument("--max-batch", type=int, help="rows at once; as many as memory holds")
    parser.add_argument("--generate", action="store_true", help="compare with generate of transformers, too")
    parser.add_argument("--no-one", dest="one_by_one", action="store_false", help="leave out one after another")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only-generate", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    (one if args.one else threads if args.threads else only_generate if args.only_generate else compare)(args)


if __name__ == "__main__":
    main()
