import base64
import gzip
import json
import random
from typing import Any

from tale_dspy.reports import explorer as explorer_module
from tale_dspy.reports.explorer import BLOCK_ROWS, MAX_PANE_CHARACTERS, ExplorerColumn, RowExplorer, TextPane, packed


def table(texts: list[str], telling: set[int] = frozenset(range(10**6))) -> RowExplorer:  # type: ignore[assignment]
    return RowExplorer(
        source="q",
        unit="questions",
        groups=["a", "b\x1b"],
        columns=[
            ExplorerColumn(name="Question", values=[text[:5] for text in texts], kind="text"),
            ExplorerColumn(name="Tokens", values=[None, *range(1, len(texts))], group=1),
        ],
        panes=lambda i: [TextPane(title="reply", text=texts[i], group=1)],
        is_telling=lambda i: i in telling,
        elsewhere="not here",
    )


def unpacked(block: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(block)))


def test_figures_are_in_one_block_and_texts_in_blocks_of_many_rows() -> None:
    blocks = packed(table([f"text {i}" for i in range(250)]))
    assert list(blocks) == ["q", "q-0", "q-1", "q-2"]
    data = unpacked(blocks["q"])
    assert (data["n"], data["groups"]) == (250, ["a", "b\\x1b"]) and data["columns"][1]["values"][:2] == [None, 1]
    block, position = data["places"][137]
    assert unpacked(blocks[f"q-{block}"])[position] == [{"title": "reply", "text": "text 137", "group": 1}]


def test_no_text_is_markup_and_hidden_characters_are_shown() -> None:
    blocks = packed(table(["</script><script>alert(1)\u202e\u200b\x00\ud800"]))
    assert all("<" not in block and "&" not in block for block in blocks.values())
    assert unpacked(blocks["q-0"])[0][0]["text"] == "</script><script>alert(1)\\u202e\\u200b\\x00\\ud800"


def test_a_line_of_a_million_characters_is_cut_in_its_middle() -> None:
    text = unpacked(packed(table(["a" * 1_000_000 + "[[7]]"]))["q-0"])[0][0]["text"]
    assert len(text) < MAX_PANE_CHARACTERS + 100 and text.endswith("[[7]]") and "characters left out" in text


def test_where_texts_do_not_fit_those_of_telling_rows_are_kept(monkeypatch: Any) -> None:
    monkeypatch.setattr(explorer_module, "MAX_BYTES", 200_000)
    rng = random.Random(0)
    texts = ["".join(rng.choices("abcdefgh", k=2000)) for _ in range(3 * BLOCK_ROWS)]
    blocks = packed(table(texts, telling={299, 298}))
    places = unpacked(blocks["q"])["places"]
    assert places[299][0] == places[298][0] == 0 and [-1, 0] in places
    assert sum(map(len, blocks.values())) < 300_000


def test_beyond_ten_thousand_rows_only_telling_rows_have_texts(monkeypatch: Any) -> None:
    monkeypatch.setattr(explorer_module, "MAX_ROWS_WITH_TEXT", 10)
    places = unpacked(packed(table(["x"] * 11, telling={4}))["q"])["places"]
    assert [row for row, (block, _) in enumerate(places) if block >= 0] == [4]


def test_the_same_rows_give_the_same_bytes() -> None:
    assert packed(table(["a", "b"])) == packed(table(["a", "b"]))
