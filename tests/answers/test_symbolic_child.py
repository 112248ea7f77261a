"""What runs inside the child process, run here."""

import json
from pathlib import Path

from tale_dspy.answers import symbolic_child


def test_the_child_answers_line_by_line(tmp_path: Path) -> None:
    questions = [
        {"pairs": [["$x+1$", "$1+x$", 6]]},
        {"pairs": [["$x$", "$y$", 6]]},
        {"authors": ["3, 4", "4"]},
        {"pairs": [["no numbers"]]},
    ]
    (tmp_path / "in").write_text("".join(json.dumps(q) + "\n" for q in questions))
    with (tmp_path / "in").open("rb") as lines, (tmp_path / "out").open("wb") as replies:
        symbolic_child.warm_up()
        symbolic_child.serve(lines, replies)
    assert (tmp_path / "out").read_text().split() == ["?1", "?0", "?1", "?0"]
