"""A server is asked for the tokens it makes of a prompt, before an adapter behind it is measured."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dspy
import pytest

from tale_dspy.errors import BackendError, UsageError
from tale_dspy.programs.cot import VanillaCoT
from tale_dspy.training.served import check_program, check_served
from tale_dspy.training.training_prompt import TrainingPrompt

MESSAGES = [{"role": "system", "content": "Help."}, {"role": "user", "content": "2 and 2?"}]
Answers = dict[str, Callable[[dict[str, Any]], Any]]


@pytest.fixture
def serve() -> Iterator[Callable[[Answers], str]]:
    """Start servers that answer some paths, and nothing else."""
    started: list[ThreadingHTTPServer] = []

    def start(answers: Answers) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = answers.get(self.path)
                content = json.dumps({} if answer is None else answer(body)).encode()
                self.send_response(404 if answer is None else 200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        started.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}/v1"

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def trained(base: Path) -> tuple[dict[str, Any], list[int]]:
    """A card of a training on `base`, and the tokens of its example."""
    from transformers import AutoTokenizer

    from tale_dspy.backends.local.chat_template import render_prompt

    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    text = render_prompt(tokenizer, MESSAGES)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return {"prompt": {"system": "Help.", "example": MESSAGES, "text": text, "text_tokens": len(ids)}}, ids


def counted(n: int) -> Answers:
    return {"/v1/chat/completions": lambda body: {"usage": {"prompt_tokens": n}, "asked": body}}


def test_the_same_tokens_pass_by_either_way(serve: Any, trained: Any, base: Path) -> None:
    card, ids = trained
    bodies: list[dict[str, Any]] = []

    def tokenize(body: dict[str, Any]) -> Any:
        bodies.append(body)
        return {"tokens": ids}

    check_served(card, base, "tuned", serve({"/tokenize": tokenize}))
    assert bodies == [{"model": "tuned", "messages": MESSAGES, "add_generation_prompt": True}]
    check_served(card, base, "tuned", serve(counted(len(ids))) + "/")


def test_other_tokens_are_refused_with_the_place(serve: Any, trained: Any, base: Path) -> None:
    card, ids = trained
    other = serve({"/tokenize": lambda _: {"tokens": [*ids[:4], 99, *ids[5:]]}})
    with pytest.raises(
        UsageError, match=f"tuned is served with another chat template .*token 5 of {len(ids)} is anoth"
    ):
        check_served(card, base, "tuned", other)
    with pytest.raises(UsageError, match=f"{len(ids) + 9} tokens instead of {len(ids)}"):
        check_served(card, base, "tuned", serve(counted(len(ids) + 9)))


def test_a_server_that_says_nothing_cannot_be_checked(serve: Any, trained: Any, base: Path) -> None:
    card, _ = trained
    with pytest.raises(BackendError, match="does not tell how many tokens"):
        check_served(card, base, "tuned", serve({"/v1/chat/completions": lambda _: {"usage": None}}))
    with pytest.raises(BackendError, match="does not answer as an OpenAI-compatible server does"):
        check_served(card, base, "tuned", serve({}))


def test_an_adapter_of_plain_texts_cannot_be_served_chats(base: Path) -> None:
    with pytest.raises(UsageError, match="texts without chat template"):
        check_served({"prompt": {"example": "2+2="}}, base, "tuned", "http://127.0.0.1:9/v1")


def test_the_program_must_ask_with_the_system_message_of_the_training() -> None:
    program, inputs = VanillaCoT("question -> answer"), {"question": "2 and 2?"}
    (system,) = [m["content"] for m in TrainingPrompt(program, "").prompt(inputs) or [] if m["role"] == "system"]
    check_program({"prompt": {"system": system}}, program, inputs)
    with pytest.raises(UsageError, match=r"the system message 'You are a helpful assistant\.', but Chain"):
        check_program({"prompt": {"system": system}}, dspy.ChainOfThought("question -> answer"), inputs)
