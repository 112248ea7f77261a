r"""Find the final answer in a reply.

1. An answer is *marked* by balanced `[[...]]`, `\boxed{...}` or `#### ...`. The mark that comes last wins, whatever its
   form: a reply that corrects itself is judged by its last answer.
2. An answer is *stated* by "the answer is ...", "Answer: ...", `<answer>`, "答案是 ..." (an option also by "I choose
   B", "B is correct", "选 B"). Only statements that begin with an answer of the asked kind count, and none after "if"
   or "not". Without a mark the last statement wins. After a mark it overrides the mark; a text does so only after a
   word such as "Correction" or "Wait". What follows in its sentence, and any later sentence, is explanation.
3. An answer of 1 or 2 is *taken back* by "Wait, no: 43", "Sorry, I meant 43" and the like after it; "That is wrong."
   without another answer leaves none.
4. With neither, a number is the last one of the reply (explanations in round brackets, programs, numbers of steps and
   a check after it left out; none where the reply says that there is none), an option the last letter that stands as
   one, a text the last line if it is short.

Thinking inside the text is cut off first, a JSON object is read by its keys, and a second question that the model asks
itself is not answered. Two answers are no answer: `[[20 or 18]]`, `[[3, 4]]` and `[[A, B]]` are returned whole and
equal no single gold.
"""

import itertools
import re

from tale_dspy.answers.choices import option_alone, read_option
from tale_dspy.answers.corrections import last_correction
from tale_dspy.answers.denials import without_denials
from tale_dspy.answers.fallback import last_number, last_option, last_text
from tale_dspy.answers.json_reply import cut_object_answer, json_answer, json_object
from tale_dspy.answers.kinds import Kind, check_kind, to_text
from tale_dspy.answers.marked import last_mark
from tale_dspy.answers.normalize import ascii_twin
from tale_dspy.answers.numbers import read_quantity
from tale_dspy.answers.stated import last_statement
from tale_dspy.answers.thought_tags import split_thought

MAX_REPLY_CHARS = 100_000
"""Only this many last characters of a reply are read: some 25,000 tokens, and an answer stands near the end."""

_NEXT_QUESTION = re.compile(
    r"\n[#*\s]{0,9}(?:Question|Q|Problem|Exercise|User|Human|Instruction|问题|题目)[ \t*]{0,3}\d{0,3}[ \t*]{0,3}[:：]"
    r"|\n#{1,6}[ \t*]{0,3}(?:Question|Problem|Exercise|Example)[ \t]{0,3}\d{0,3}[*:]{0,3}[ \t]{0,3}(?=\n)",
    re.IGNORECASE,
)
_MAX_QUESTIONS = 5
_LABELLED = re.compile(r"\(?[A-J][).:]\s[^\n]{1,60}")  # `B. Paris`

_ECHO = re.compile(r"\((?:e\.g\.|for example),? ?[^\[\]()\n]{0,20}\[\[[^\[\]()\n]{0,20}\]\]\)", re.IGNORECASE)
"""The example of the paper's prompt, `(e.g. Answer: [[50]])`, that a model repeats."""
_FIELD_MARKER = re.compile(r"\[\[ {0,3}##[^\]\n]{0,100}## {0,3}\]\]")


def find_answer(reply: str | None, kind: Kind = "auto", *, guess: bool = True) -> str | None:
    """Find the final answer in a reply, by the rules at the head of this file.

    DSPy's field markers (`[[ ## answer ## ]]`), empty brackets and repeated templates (`[[answer]]`) are no marks.

    Args:
        reply: What the model wrote. Bytes are read as UTF-8; of a very long reply the end is read.
        kind: What to look for. With `auto`, numbers, options and texts.
        guess: Whether rule 4 applies; if not, only a marked or stated answer counts.

    Returns:
        The content of the mark without its brackets, or the stated or last number, letter or line; with kind `choice`
        the capital letter alone wherever there is one option. None if there is no answer to read.

    Raises:
        UsageError: If `kind` is not a `Kind`.

    Example:
        >>> find_answer("So 9 * 2 = 18."), find_answer("[[17]] Wait, no: 18"), find_answer("[[17, 18]]")
        ('18', '18', '17, 18')
        >>> find_answer("Option B is wrong, so C", "choice")
        'C'
    """
    check_kind(kind)
    _, text, complete = split_thought(_cut_middle(to_text(reply) or ""))
    if not complete:
        return None
    text = _FIELD_MARKER.sub("\n", text[-MAX_REPLY_CHARS:]).rstrip()
    text = _ECHO.sub(" ", text)
    if (fields := json_object(text)) is not None:
        answer = json_answer(fields)
        if answer is not None:
            return _find_answer(answer, kind, guess) or answer
        if kind in ("number", "choice"):
            return None  # several values, none of them named
    elif (cut := cut_object_answer(text)) is not None:
        return _find_answer(cut, kind, guess) if cut else None
    return _find_answer(_first_answer(text, kind), kind, guess)


def _find_answer(text: str, kind: Kind, guess: bool) -> str | None:
    plain = ascii_twin(text)  # the same positions as in text
    span = last_mark(text, plain, kind)
    answer = last_statement(plain, kind, span) or span
    if answer is None and kind == "auto":
        answer = last_statement(plain, "choice", None)
    if answer is not None:
        if (correction := last_correction(plain, answer.end, kind, guess=guess)) is not None:
            return correction.text
        stated = answer.text if kind == "text" else without_denials(answer.text, kind)
        return (read_option(stated) if kind == "choice" else None) or stated
    if not guess:
        return None
    if kind == "choice":
        return last_option(plain)
    if kind == "text":
        return last_text(text)
    number = last_number(plain)
    if number is not None or kind != "auto":
        return number
    line = plain.strip()
    return option_alone(line) or (read_option(line) if _LABELLED.fullmatch(line) else None)


def _cut_middle(text: str) -> str:
    """Cut the middle out of a very long reply.

    An answer stands near its end, the tag of a thought at its start.
    """
    if len(text) <= 2 * MAX_REPLY_CHARS:
        return text
    return f"{text[:MAX_REPLY_CHARS]}\n{text[-MAX_REPLY_CHARS:]}"


def _first_answer(text: str, kind: Kind) -> str:
    """Remove further questions that a model asks and answers itself.

    A model that never stops does so after few-shot prompts.
    """
    for cue in itertools.islice(_NEXT_QUESTION.finditer(text), _MAX_QUESTIONS):
        before = text[: cue.start()].rstrip()
        plain = ascii_twin(before)
        if before and (
            last_mark(before, plain, kind)
            or last_statement(plain, kind, None)
            or read_quantity(before)
            or option_alone(plain.strip())
        ):
            return before
    return text
