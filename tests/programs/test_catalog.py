"""A file in programs/ is a program, and its word on the command line is its own."""

import pkgutil

from tale_dspy import programs
from tale_dspy.programs.catalog import command_line_programs, import_programs
from tale_dspy.programs.registry import registered_modules


def test_every_file_is_imported() -> None:
    import_programs()
    files = {module.name for module in pkgutil.walk_packages(programs.__path__, "tale_dspy.programs.")}
    homes = {kind.__module__ for kind in registered_modules().values()}
    assert {"tale_dspy.programs.vote", "tale_dspy.programs.estimators.estimator"} <= homes & files


def test_the_words_of_the_command_line_are_these() -> None:
    class_names = {word: kind.__name__ for word, kind in command_line_programs().items()}
    assert class_names == {
        "no-thinking": "NoThinking",
        "direct": "DirectAnswer",
        "cot": "VanillaCoT",
        "concise": "Concise",
        "draft": "ChainOfDraft",
        "sketch": "SketchOfThought",
        "tale-ep": "TaleEP",
        "self-budgeted": "SelfBudgeted",
    }
