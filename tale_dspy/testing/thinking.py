"""A scripted reasoner that thinks natively before it writes.

It may spend its whole allowance on thinking.

What a provider bills for such a reply is real; here the thought is filler, and the answer the solver's.
"""

from collections.abc import Mapping
from dataclasses import replace

from tale_dspy.errors import UsageError
from tale_dspy.testing.messages import Reply, Request, check_share, draw, text_of
from tale_dspy.testing.problems import SolverReply

_CLOSE = "do not think"
"""Words of a prompt that close the thought."""
_OFF = ("none", "disable", "minimal")


class ThinkingReply:
    """Think first, then reply as a solver does.

    It is a reply function for a `ScriptedServer`.

    The thought comes as `reasoning_content` and counts as completion tokens. One that does not fit into the body's
    `max_tokens` is cut there: the reply then has no text and `finish_reason` is `length`, and all of it is billed. A
    prompt that says not to think, or a reasoning control of the body that is off, is answered at once.

    Args:
        solver: Writes the text.
        thought: Words a question is thought about, for all questions; None: as many as there is room for, always.
        room: Most words of a reply where the body sets no limit.
        shown: Whether the thought is sent; if not, only the usage tells of it, as at OpenAI.
        stubborn: Share of the questions that are thought about whatever the prompt says.

    Raises:
        UsageError: If a number is below 1, or the share not between 0 and 1.
    """

    def __init__(
        self,
        solver: SolverReply,
        *,
        thought: int | None = None,
        room: int = 512,
        shown: bool = True,
        stubborn: float = 0.0,
    ) -> None:
        if room < 1 or (thought is not None and thought < 1):
            raise UsageError(f"thought and room must be at least 1, not {thought} and {room}")
        check_share("stubborn", stubborn)
        self.solver, self.thought, self.room, self.shown, self.stubborn = solver, thought, room, shown, stubborn

    def __call__(self, request: Request) -> Reply:
        """Answer one request."""
        users = [text_of(m.get("content")) for m in request.messages if m.get("role") == "user"]
        question = next((q for text in reversed(users) if (q := self.solver.find(text))), request.prompt)
        close = request.prompt.lower().rfind(_CLOSE)
        obeys = draw(question, "stubborn") >= self.stubborn
        if close >= 0 and obeys:
            # What was thought before counts: the answer is as good as after a whole chain of thought.
            prompt = f"{request.prompt[close:]}\n\n{question}"
            reply = self.solver(replace(request, prompt=prompt, kind="cot", body={}))
            *_, last = (reply.text or "").splitlines() or [""]
            return self._fit_allowance(replace(reply, text=last) if "[[answer]]" in prompt else reply, 0, request.body)
        thought = 0 if obeys and is_off(request.body) else self.thought or self.room
        return self._fit_allowance(self.solver(replace(request, body={})), thought, request.body)

    def _fit_allowance(self, reply: Reply, thought: int, body: Mapping[str, object]) -> Reply:
        """Put a thought of `thought` words before a reply.

        Both are cut at the allowance.
        """
        limits = [body.get(name) for name in ("max_completion_tokens", "max_tokens")]
        room = min([limit for limit in limits if isinstance(limit, int)], default=self.room)
        if self.thought is None and thought:
            thought = room
        cut = thought + reply.tokens > room
        spent = min(thought, room) if cut else thought
        text = None if cut and thought else reply.text
        return replace(
            reply,
            text=text,
            reasoning=" ".join(["hmm"] * spent) if self.shown and spent else None,
            completion_tokens=room if cut and thought else spent + reply.tokens,
            finish_reason="length" if cut and thought else "stop",
        )


def is_off(body: Mapping[str, object]) -> bool:
    """Return whether a request body switches thinking off."""
    template = body.get("chat_template_kwargs")
    thinking = body.get("thinking")
    return (
        body.get("reasoning_effort") in _OFF
        or (isinstance(template, Mapping) and template.get("enable_thinking") is False)
        or (isinstance(thinking, Mapping) and thinking.get("type") == "disabled")
    )
