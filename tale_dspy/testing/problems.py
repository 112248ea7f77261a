"""Questions to test with, and the script that pretends to think about them.

`word_problems` makes arithmetic word problems with known answers; `SolverReply` is a reply function for a
`ScriptedServer` that knows the answers and writes filler of the length the prompt asks for. It is a script and not a
model: lengths and mistakes come from hashes of the question, laid out in the shape the TALE paper reports.
"""

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tale_dspy.errors import DataError, UsageError
from tale_dspy.protocols import JsonObject
from tale_dspy.testing.messages import Reply, Request, check_share, count_words, draw, first_words

_NAMES = ("Ada", "Boris", "Chen", "Dalia", "Emeka", "Farah", "Goran", "Hana", "Ivo", "Jamila", "Kofi", "Lena")
_THINGS = ("apples", "stamps", "marbles", "books", "shells", "coins", "cards", "tiles", "pencils", "buttons")

_BUDGET = re.compile(
    r"(?:less than|fewer than|at most|within|under|below|no more than|使用少于)\s*(-?\d+)\s*tokens", re.I
)
_BUDGET_FIELD = re.compile(r"\[\[ ## token_budget ## \]\]\n(-?\d+)")
_OUTPUTS = re.compile(r"Respond with (?:the corresponding output fields|a JSON object)[^`]*(`.*)")
_OUTPUT_NAME = re.compile(r"`(?:\[\[ ## )?(\w+)(?: ## \]\])?`")
_WORD_START = re.compile(r"(?<![A-Za-z0-9])\S")
_BUDGET_NAMES = ("token_budget", "budget")
_STATES = ("first state the minimum number of tokens", "settle on the minimum number of tokens")

_FILLER = re.findall(
    r"\w+",
    "we take the number that is given and add the next part to it so that what we know about the first step carries "
    "over to the second one and then each value is used once in its order before the total can be read off at the end",
)
_PREFIX = 16  # characters of a question that are looked up first


def budget_of(prompt: str) -> int | None:
    """Return the token budget a prompt names last.

    It is a phrase or the field `token_budget`; None without one.
    """
    if "token" not in prompt:
        return None
    matches = _BUDGET.findall(prompt) or _BUDGET_FIELD.findall(prompt)
    # Longer numbers than any budget are cut: int() refuses more than 4300 digits.
    return int(matches[-1][:18]) if matches else None


def kind_of(system: str, prompt: str) -> str:
    """Name what a prompt asks for.

    It is `estimate`, `stated`, `budget`, `direct`, `draft`, `concise` or `cot`. The wordings decide and, under DSPy's
    own adapters, the names of the fields asked for: a budget alone is an estimate, one beside other outputs is stated
    first, outputs without `reasoning` are a direct answer.

    Args:
        system: Text of the system messages.
        prompt: Text of the last user message.
    """
    text = f"{system}\n{prompt}".lower()
    outputs = _output_fields(prompt)
    if "estimate the minimum number of tokens" in text or "[[budget]]" in text or "[[token_budget]]" in text:
        return "estimate"
    if outputs and all(name in _BUDGET_NAMES for name in outputs if name != "reasoning"):
        return "estimate"
    if any(words in text for words in _STATES) or set(outputs) & set(_BUDGET_NAMES):
        return "stated"
    if budget_of(prompt) is not None:
        return "budget"
    if "without any reasoning" in text or "the answer directly" in text:
        return "direct"
    if "5 words at most" in text:
        return "draft"
    if "concise" in text:
        return "concise"
    return "direct" if outputs and "reasoning" not in outputs else "cot"


def _output_fields(prompt: str) -> list[str]:
    """Return the output fields that a DSPy prompt ends with.

    Only prompts of the chat and the JSON adapter name any.
    """
    match = _OUTPUTS.search(prompt)
    return [name for name in _OUTPUT_NAME.findall(match[1]) if name != "completed"] if match else []


class SolverReply:
    """A scripted reasoner: a reply function that knows the answers.

    It is a script and not a model. Every question has hidden constants, made from a hash of its text: the words it
    needs (16 to 48), the length of its unconstrained chain of thought (2.5 to 5 times that), and the budget below which
    its answer is wrong. A reply to

    - the estimator's prompt is `Budget: [[k]]`, with k from 0.8 to 1.8 times the need;
    - a direct prompt is `Answer: [[x]]`, wrong for a fixed share of the questions;
    - a prompt with a budget of N has about min(N, unconstrained) words; below the need it grows again towards the
      unconstrained length (the paper's token elasticity), and far below it the answer is wrong;
    - a prompt to state a budget first begins with what the estimator's prompt gets, and keeps to it as to a given one;
    - Chain of Draft has 0.7 times the need, a concise prompt 0.6 times the unconstrained length;
    - any other prompt is an unconstrained chain of thought.

    It is laid out as the prompt asks: `Answer: [[x]]`, `Choice: [[x]]`, DSPy's `[[ ## field ## ]]` sections or its JSON
    object, where every field but `reasoning` and a budget gets the answer. `max_tokens` cuts it after that many words.
    The same prompt gets the same reply, always; of several choices each but the first is wrong for a further 15 % of
    the questions. A question outside the bank gets a number made from the prompt's hash.

    Args:
        bank: Question text -> answer.
        wrong: Share of questions answered wrongly whatever the prompt.
        direct_wrong: Share of questions answered wrongly without a chain of thought; at least `wrong`.
        seed: Another seed draws other hidden constants.

    Raises:
        UsageError: If a question is empty or a share is not between 0 and 1.
    """

    def __init__(
        self, bank: Mapping[str, object], *, wrong: float = 0.05, direct_wrong: float = 0.6, seed: int = 0
    ) -> None:
        check_share("wrong", wrong)
        check_share("direct_wrong", direct_wrong)
        self.bank: dict[str, str] = {question.strip(): str(answer) for question, answer in bank.items()}
        if "" in self.bank:
            raise UsageError("a question of the bank must not be empty")
        self.wrong = wrong
        self.direct_wrong = direct_wrong
        self.seed = seed
        self._prefix = min([_PREFIX, *(len(question) for question in self.bank)])
        self._starts: dict[str, list[str]] = {}
        for question in sorted(self.bank, key=len, reverse=True):  # the longest that fits is the one asked
            self._starts.setdefault(question[: self._prefix], []).append(question)

    def __call__(self, request: Request) -> Reply:
        """Answer one request."""
        question = self.find(request.prompt)
        key = request.prompt if question is None else question
        right = str(int(self._seeded_draw(key, "unknown") * 1000)) if question is None else self.bank[question]
        estimate = round(self.need(key) * (0.8 + self._seeded_draw(key, "estimate")))
        stated = estimate if request.kind == "stated" else None
        if request.kind == "estimate":
            tail, length = str(estimate), 0
        else:
            budget = budget_of(request.prompt) if request.kind == "budget" else stated
            length = self.length(key, request.kind if budget is None else "budget", budget)
            tail = _wrong_answer(right) if self._fails_under(key, request, budget) else right
        start = int(self._seeded_draw(key, f"filler {request.choice}") * len(_FILLER))
        text = _lay_out(request, tail, length, start, stated)
        return _cut_at_limit(text, request.body)

    def find(self, prompt: str) -> str | None:
        """Return the question of the bank that stands last in the prompt, or None."""
        for at in reversed([match.start() for match in _WORD_START.finditer(prompt)]):
            for question in self._starts.get(prompt[at : at + self._prefix], ()):
                if prompt.startswith(question, at):
                    return question
        return None

    def need(self, question: str) -> int:
        """Return the words that the question needs.

        A budget of that size is followed, and answered as well as any larger one.
        """
        return 16 + int(33 * self._seeded_draw(question, "need"))

    def length(self, question: str, kind: str, budget: int | None = None) -> int:
        """Return the number of words of a reply to a prompt of this kind.

        It is 0 for a direct answer, which has no thought.
        """
        need = self.need(question)
        full = round(need * (2.5 + 2.5 * self._seeded_draw(question, "full")))
        if kind == "budget" and budget is not None:
            if budget >= full:
                return full
            if budget >= need:
                return round(budget * (0.8 + 0.17 * self._seeded_draw(question, "follow")))
            return round(need + (full - need) * 0.9 * (1 - max(0, budget) / need))
        return {"direct": 0, "estimate": 0, "draft": round(0.7 * need), "concise": round(0.6 * full)}.get(kind, full)

    def _fails_under(self, key: str, request: Request, budget: int | None) -> bool:
        if self._seeded_draw(key, "wrong") < self.wrong:
            return True
        if request.choice and self._seeded_draw(key, f"choice {request.choice}") < 0.15:
            return True
        if request.kind == "direct":
            # Of the questions a chain of thought gets right, so that the shares add up.
            return self._seeded_draw(key, "direct") * (1 - self.wrong) < self.direct_wrong - self.wrong
        return budget is not None and budget < self.need(key) * (0.35 + 0.55 * self._seeded_draw(key, "threshold"))

    def _seeded_draw(self, key: str, salt: str) -> float:
        return draw(key, f"{self.seed} {salt}")


def _wrong_answer(answer: str) -> str:
    """Return another answer of the same sort.

    It is the next letter of A to D, the next number, or a refusal.
    """
    if answer in ("A", "B", "C", "D"):
        return "BCDA"["ABCD".index(answer)]
    if re.fullmatch(r"-?\d{1,18}", answer):
        return str(int(answer) + 1)
    return "17" if answer == "unknown" else "unknown"


def _lay_out(request: Request, value: str, length: int, start: int, stated: int | None) -> str:
    """Write a reply of `length` words in all that ends in `value`.

    With a length of 0 it has no thought. A stated budget comes before them.
    """
    outputs = _output_fields(request.prompt)
    if outputs:
        spare = length - count_words(value) - 5 * len(outputs) - 5  # each marker is five words
        fields = {name: str(stated) if stated and name in _BUDGET_NAMES else value for name in outputs}
        if "reasoning" in fields:
            fields["reasoning"] = _filler_thought(max(3, spare), start)
        if "Respond with a JSON object" in request.prompt:
            return json.dumps(fields)
        sections = "\n\n".join(f"[[ ## {name} ## ]]\n{text}" for name, text in fields.items())
        return f"{sections}\n\n[[ ## completed ## ]]"
    label = "Budget" if request.kind == "estimate" else "Choice" if "[[choice]]" in request.prompt else "Answer"
    tail = f"{label}: [[{value}]]"
    head = f"Budget: [[{stated}]]\n" if stated else ""
    return f"{head}{_filler_thought(length - count_words(tail), start)}\n{tail}" if length else tail


def _filler_thought(length: int, start: int) -> str:
    """Return `length` words of filler."""
    rounds = (start + max(0, length)) // len(_FILLER) + 1
    return " ".join((_FILLER * rounds)[start : start + max(0, length)])


def _cut_at_limit(text: str, body: Mapping[str, object]) -> Reply:
    """Cut a reply at the body's limit of tokens, counted in words.

    The limit is `max_tokens` or `max_completion_tokens`.
    """
    caps = [cap for cap in (body.get("max_completion_tokens"), body.get("max_tokens")) if isinstance(cap, int)]
    if caps and count_words(text) > min(caps):
        return Reply(first_words(text, min(caps)), finish_reason="length")
    return Reply(text)


def word_problems(n: int, seed: int = 0) -> list[JsonObject]:
    """Make simple arithmetic word problems of one to four steps.

    The first problems of a longer list are those of a shorter one with the same seed, and no question comes twice.

    Args:
        n: How many.
        seed: Another seed gives other questions.

    Returns:
        Rows of `question`, `answer` (an integer of 0 or more, as text) and `steps` (the operations it takes).

    Raises:
        UsageError: If `n` is negative.
    """
    if n < 0:
        raise UsageError(f"n must be 0 or more, not {n}")
    chance = random.Random(seed)
    rows: dict[str, JsonObject] = {}
    while len(rows) < n:
        template = chance.choice(_TEMPLATES)
        question, answer, steps = template(chance, chance.choice(_NAMES), chance.choice(_THINGS))
        rows.setdefault(question, {"question": question, "answer": str(answer), "steps": steps})
    return list(rows.values())


def read_bank(path: Path) -> dict[str, str]:
    """Read a bank from a .jsonl file with `question` and `answer`.

    As in GSM8K, only the text after `####` is the answer.

    Raises:
        DataError: If the file cannot be read or a line is no such row.
    """
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {row["question"]: str(row["answer"]).split("####")[-1].strip() for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise DataError(f"{path} must hold one JSON object with question and answer a line: {e!r}") from e


_Problem = tuple[str, int, int]


def _give_away(r: random.Random, name: str, things: str) -> _Problem:
    have, handed_over = r.randint(50, 999), r.randint(2, 49)
    return (
        f"{name} has {have} {things} and gives {handed_over} away. How many {things} are left?",
        have - handed_over,
        1,
    )


def _boxes(r: random.Random, name: str, things: str) -> _Problem:
    boxes, each, more = r.randint(3, 40), r.randint(4, 60), r.randint(2, 99)
    text = (
        f"{name} fills {boxes} boxes with {each} {things} each and keeps {more} {things} in a bag. "
        f"How many {things} does {name} have altogether?"
    )
    return text, boxes * each + more, 2


def _market(r: random.Random, name: str, things: str) -> _Problem:
    price, had, unsold = r.randint(2, 19), r.randint(60, 300), r.randint(5, 50)
    text = (
        f"{name} brings {had} {things} to the market, keeps {unsold} of them and sells the rest for ${price} each. "
        f"How many dollars does {name} earn?"
    )
    return text, (had - unsold) * price, 2


def _share(r: random.Random, name: str, things: str) -> _Problem:
    friends, each, lost = r.randint(3, 15), r.randint(4, 40), r.randint(2, 30)
    days = r.randint(2, 9)
    text = (
        f"{name} collects {friends * each + lost} {things}, loses {lost} of them and shares the others equally among "
        f"{friends} friends. How many {things} would {days} of these friends have together?"
    )
    return text, each * days, 3


def _week(r: random.Random, name: str, things: str) -> _Problem:
    first, more, days, gone = r.randint(5, 60), r.randint(2, 30), r.randint(2, 9), r.randint(1, 5)
    text = (
        f"{name} makes {first} {things} on Monday. On each of the next {days} days {name} makes {more} more than on "
        f"Monday, and on the last evening sells {gone} {things}. How many {things} does {name} have then?"
    )
    return text, first + days * (first + more) - gone, 4


_TEMPLATES: Sequence[Callable[[random.Random, str, str], _Problem]] = (_give_away, _boxes, _market, _share, _week)
