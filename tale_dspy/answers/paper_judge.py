"""The authors' own judge, faults included, for figures beside the paper's."""

import re

from tale_dspy.answers.symbolic import paper_same

_TAIL = 1_000_000  # characters that are searched for the last number: no model writes more


def paper_judge(reply: str | None, gold: str, cloze: bool = True) -> bool:
    """Judge a reply as the authors' `AccEvaluator` does, faults included.

    It serves `--preset paper`.

    Use it for nothing else. Known faults, reproduced on purpose: `[[gold]]` anywhere in the reply is right, even where
    it is corrected later; without brackets the last number counts, whatever it is; `[[20 or 18]]` and `[[3, 4]]` are
    right for 18 and 4; a choice without brackets is the last capital A to D of the last line, so that "I CANNOT answer
    this." chooses A. It differs in that it never hangs or raises: a comparison by math-verify may take a second in the
    child process (there: five, and the main thread only), and no reply is wrong.

    Args:
        reply: What the model wrote.
        gold: The gold as text.
        cloze: Whether a number or expression is asked, and not a choice.

    Raises:
        BackendError: If the process for mathematics cannot be started on this machine.
    """
    if not reply:
        return False
    if f"[[{gold}]]" in reply:
        return True
    if not cloze:
        return _last_choice(reply) == gold
    answer = _last_brackets(reply)
    if answer is None:
        answer = _last_number(reply)
    return answer is not None and (answer == gold or paper_same(answer, gold))


def _last_brackets(reply: str) -> str | None:
    """Return what stands between the last `[[` and the next `]]` on its line."""
    # Where a line has no `]]` after a `[[`, it has none after the next one: skipping its rest keeps this linear.
    answer = [m[1] for m in re.finditer(r"\[\[(?:(.*?)]]|.*)", reply) if m[1] is not None]
    return answer[-1] if answer else None


def _last_number(reply: str) -> str | None:
    """Return the last run of two or more of `$0-9.,`, or the last integer.

    Commas, dollars and the last dot are left out.
    """
    runs = re.findall(r"-?[$.,0-9]{2,}|-?[0-9]+", reply[-_TAIL:])
    return runs[-1].replace(",", "").replace("$", "").removesuffix(".") if runs else None


def _last_choice(reply: str) -> str | None:
    """Return the last capital A to D of the last line.

    If that line has fewer than 5 characters, the text from "the correct answer is" on is read instead.
    """
    text = reply.strip()
    tail = text[text.rfind("\n") + 1 :]
    if len(tail) < 5:
        cues = (text.find("the correct answer is"), text.find("答案为选项"))
        tail = next((text[at:] for at in cues if at >= 0), tail)
    letters = re.findall("[ABCD]", tail)
    return letters[-1] if letters else None
