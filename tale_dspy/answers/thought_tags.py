"""Split a reply with thinking inside into thought and answer.

Servers without a reasoning parser leave `<think>...</think>` and its kin in the content. The thought belongs where
native thinking goes; nothing that reads an answer, a budget or a field may see it.
"""

import re
from functools import lru_cache
from typing import NamedTuple

_NAMES = (
    r"(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratchpad|analysis|(?:inner|internal)_?monologue"
    r"|chain_?of_?thoughts?|cot|(?:seed|ant):?think(?:ing)?)"
)
_OPEN = re.compile(
    rf"(?:<|&lt;)\s?{_NAMES}(?:\s[^<>\n]{{0,99}})?(?:>|&gt;)|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|START_THINKING\|>"
    rf"|<\|(?:think|thinking)\|>|<unused94>(?:thought)?|<\|channel>thought|<｜begin▁of▁thinking｜>",
    re.IGNORECASE,
)
_CLOSE = re.compile(
    rf"(?:<|&lt;)\s?/\s?{_NAMES}\s?(?:>|&gt;)|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|END_THINKING\|>|<\|/(?:think|thinking)\|>"
    rf"|<unused95>|<channel\|>|<｜end▁of▁thinking｜>",
    re.IGNORECASE,
)
_TAG = re.compile(f"(?P<open>{_OPEN.pattern})|(?P<close>{_CLOSE.pattern})", re.IGNORECASE)
# Where a tag may begin; searched in one go, however many brackets a reply holds.
_TAG_START = re.compile(
    r"<(?=[/\s]{0,2}(?:th|re|sc|an|in|ch|co|se|un))|<(?=\||｜)|&(?=lt;)|◁|\[(?=/?th)", re.IGNORECASE
)
# Harmony: <|start|>assistant<|channel|>analysis<|message|>...<|end|>, the answer in the channel `final`.
_CHANNEL = re.compile(
    r"(?:<\|start\|>(?:assistant)?)?<\|channel\|>\s?(?P<name>\w+)[^<\n]{0,99}(?:<\|constrain\|>[^<\n]{0,40})?<\|message\|>"
)
_CHANNEL_END = re.compile(r"<\|(?:end|return|call)\|>")
_BARE_ANALYSIS = re.compile(r"\s*analysis(?=[A-Z\"'“(<*\d])")  # Harmony whose special tokens a server dropped
# Other pairs, without nesting: a fence, a folded block of HTML, the lines that `ollama run` writes around a thought.
_BLOCK = re.compile(
    r"\A\s*(?:```(?:thinking|thoughts?|reasoning)[ \t]*\n(?P<fenced>.*?)(?:\n```(?=\s|\Z)|(?P<open_fence>\Z))"
    r"|<details[^>\n]{0,40}>\s*<summary>[^<\n]{0,40}\b(?:think|thought|reason)\w*[^<\n]{0,40}</summary>"
    r"(?P<folded>.*?)(?:</details>|(?P<open_fold>\Z))"
    r"|Thinking\.\.\.[ \t]*\n(?P<lines>.*?)(?:\n\.\.\.done thinking\.|(?P<open_lines>\Z)))",
    re.DOTALL | re.IGNORECASE,
)
_TURN_END = re.compile(
    r"<\|(?:im_end|eot_id|endoftext|eom_id|end_of_text|end_of_turn|end|return|endofturn|user|END_OF_TURN_TOKEN)\|>"
    r"|<\|im_start\|>(?:user|system)|<(?:end_of_turn|eos|EOT)>|<｜end▁of▁sentence｜>|\[INST\]|</s>"
)
_TURN_START = re.compile(
    r"\A\s*(?:<s>|<bos>|<\|begin_of_text\|>)?(?:<\|im_start\|>assistant|<\|start_header_id\|>assistant<\|end_header_id\|>"
    r"|<start_of_turn>model|<\|assistant\|>|\s*\[INST\].{0,20000}?\[/INST\])\s*",
    re.DOTALL,
)
_WRAPPER = re.compile(r"<\|(?:begin|end)_of_solution\|>|<\|(?:START|END)_RESPONSE\|>|<\|(?:START|END)_TEXT\|>")
_STARTS_WITHIN = 200  # characters before an opening tag that is never closed


class SplitReply(NamedTuple):
    """A reply in two parts."""

    thought: str
    """What was thought, without its tags; empty where the reply holds none."""
    visible: str
    """What was answered: the reply itself where it holds no thought."""
    complete: bool
    """Whether the thought came to its end; if not, there is no answer after it."""


@lru_cache(maxsize=64)  # LM, history and adapter each ask for the thought of the same reply
def split_thought(reply: str) -> SplitReply:
    """Split a reply at the tags of thinking.

    Read are pairs (`<think>`, `<thinking>`, `[THINK]`, `◁think▷` and those of other models), a closing tag alone (the
    opening one stood in the prompt), an opening tag alone (the reply was cut: `complete` is False) and the channels
    of Harmony. Text before a pair is kept in front of what follows it. A text without tags comes back as it is.
    A reply ends with its turn: what a model goes on to write after `<|im_end|>` and its kin is left out.

    Args:
        reply: The text of a reply, without what the server gave as reasoning.

    Example:
        >>> split_thought("<think>20? No.</think>18<|im_end|>")
        SplitReply(thought='20? No.', visible='18', complete=True)
    """
    if "<|channel|>" in reply:
        return _split_channels(reply)
    if ("<" in reply or "[INST]" in reply) and (_TURN_END.search(reply) or _TURN_START.match(reply)):
        reply = _first_turn(reply)
    if block := _BLOCK.match(reply):
        thought = next(text for text in block.group("fenced", "folded", "lines") if text is not None)
        complete = not any(text is not None for text in block.group("open_fence", "open_fold", "open_lines"))
        return SplitReply(thought.strip(), reply[block.end() :].strip(), complete)
    if (start := _BARE_ANALYSIS.match(reply)) and reply.lstrip()[8:9] not in " \n:":
        return _split_bare_channels(reply, start.end())
    tags = _find_tags(reply)
    return _split_tags(reply, tags) if tags else SplitReply("", reply, True)


def _find_tags(reply: str) -> list[re.Match[str]]:
    """Return what `_TAG.finditer` returns, tried only where a tag can begin.

    This is faster, since most replies hold no tag at all.
    """
    tags: list[re.Match[str]] = []
    for start in _TAG_START.finditer(reply):
        if (
            (not tags or start.start() >= tags[-1].end())
            and (tag := _TAG.match(reply, start.start()))
            and not _quoted(tag)
        ):
            tags.append(tag)
    return tags


def _quoted(tag: re.Match[str]) -> bool:
    """Return whether a reply only mentions a tag, between backticks or quotes."""
    before, after = tag.string[tag.start() - 1 : tag.start()], tag.string[tag.end() : tag.end() + 1]
    return before == after != "" and before in "`\"'"


def _first_turn(reply: str) -> str:
    """Cut a reply at the first end of a turn after any text.

    The header of the turn is removed as well.
    """
    start = _TURN_START.match(reply)
    reply = reply[start.end() :] if start else reply
    struck_out = "<s>" in reply  # HTML
    first_text = len(reply) - len(reply.lstrip())
    ends = (
        m.start() for m in _TURN_END.finditer(reply) if m.start() > first_text and not (struck_out and m[0] == "</s>")
    )
    return reply[: next(ends, len(reply))].rstrip()


def _split_tags(reply: str, tags: list[re.Match[str]]) -> SplitReply:
    thoughts: list[str] = []
    texts: list[str] = []
    opened: re.Match[str] | None = None
    at = 0  # the end of what was sorted
    for number, tag in enumerate(tags):
        if tag["open"]:
            if opened is None:
                texts.append(reply[at : tag.start()])
                opened, at = tag, tag.end()
        elif opened is not None:
            thoughts.append(reply[at : tag.start()])
            opened, at = None, tag.end()
        else:
            rest = reply[tag.end() : tags[number + 1].start() if number + 1 < len(tags) else len(reply)]
            if rest.strip():  # its opening tag stood in the prompt, or it was opened twice
                thoughts += [*texts, reply[at : tag.start()]]
                texts = []
            else:  # a stray tag after the answer
                texts.append(reply[at : tag.start()])
                if not thoughts:
                    thoughts, texts = [*thoughts, *texts], []
            at = tag.end()
    rest = reply[at:]
    if opened is None:
        return SplitReply(_join_thoughts(thoughts), _join_visible([*texts, rest]), True)
    before = _join_visible(texts)
    line_start = reply.rfind("\n", 0, opened.start()) + 1
    if len(before) <= _STARTS_WITHIN or not reply[line_start : opened.start()].strip():
        return SplitReply(_join_thoughts([*thoughts, rest]), before, False)
    if not thoughts:
        return SplitReply("", reply, True)  # it only names the tag
    return SplitReply(_join_thoughts(thoughts), _join_visible([*texts, reply[opened.start() :]]), True)


def _split_channels(reply: str) -> SplitReply:
    """Split Harmony's channels: `final` is the answer, all others are thought."""
    parts = list(_CHANNEL.finditer(reply))
    if not parts:
        return SplitReply("", reply, True)
    thoughts: list[str] = []
    finals: list[str] = []
    for part, end in zip(parts, [*(p.start() for p in parts[1:]), len(reply)], strict=True):
        text = _CHANNEL_END.split(reply[part.end() : end], maxsplit=1)[0]
        (finals if part["name"] == "final" else thoughts).append(text)
    visible = "".join(finals).strip()
    return SplitReply(_join_thoughts(thoughts), visible, bool(finals))


def _split_bare_channels(reply: str, start: int) -> SplitReply:
    final = list(re.finditer(r"assistant\s?final", reply[start:]))
    if not final:
        return SplitReply(reply[start:].strip(), "", False)
    end = start + final[-1].start()
    return SplitReply(reply[start:end].strip(), reply[start + final[-1].end() :].strip(), True)


def _join_thoughts(thoughts: list[str]) -> str:
    return "\n\n".join(filter(None, (thought.strip() for thought in thoughts)))


def _join_visible(pieces: list[str]) -> str:
    """Join the text around thoughts, without letting two words grow into one."""
    joined: list[str] = []
    for piece in filter(None, pieces):
        if joined and not joined[-1][-1].isspace() and not piece[0].isspace():
            joined.append("\n")
        joined.append(piece)
    return _WRAPPER.sub("", "".join(joined)).strip()
