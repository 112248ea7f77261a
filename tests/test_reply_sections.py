"""Where markers, brackets and labels of fields stand in a reply."""

import re

import pytest

from tale_dspy.reply_sections import brackets, folded_name, label_pattern, split_sections


@pytest.mark.parametrize(
    ("reply", "sections"),
    [
        ("so\n[[ ## x ## ]]\n1", {None: "so\n", "x": "1"}),
        ("so [[ ## x ## ]] 1 [[ ## completed ## ]] 2", {None: "so ", "x": "1"}),
        ("**[[## x ##]]**\n1\n[[ ## other ## ]]\n2", {None: "", "x": "1"}),
        ("[[ ## x ## ]]\n1\n[[ ## x ## ]]\n2", {None: "", "x": "2"}),
        ('{"a": "[[ ## x ## ]]"}', {None: '{"a": "[[ ## x ## ]]"}'}),
        ("[[ ## other ## ]]\n2", {None: "[[ ## other ## ]]\n2"}),
    ],
)
def test_sections_begin_at_markers_wherever_they_stand(reply: str, sections: dict[str | None, str]) -> None:
    assert split_sections(reply, ["x"]) == sections


def test_templates_and_markers_are_no_values() -> None:
    values = brackets("[[answer]] [[]] [[ ## x ## ]] [[选项]] [[total]] [[5]]", ["total"])
    assert [b.content for b in values] == ["5"]


@pytest.mark.parametrize("label", ["sub_total", "Sub Total", "SUBTOTAL", "sub-total"])
def test_a_label_is_known_in_any_spelling(label: str) -> None:
    assert re.search(label_pattern("sub_total"), f"the {label}: 5", re.IGNORECASE)
    assert folded_name(label) == "subtotal"
