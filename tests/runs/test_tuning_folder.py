from pathlib import Path

from tale_dspy.runs.tuning_folder import fresh_folders, is_tuning, trial_folders


def test_trials_are_known_by_their_names(tmp_path: Path) -> None:
    assert not is_tuning(tmp_path)
    for name in ("0123456789abcdef", "0123456789abcdef-fresh", "cot", "fresh-chosen", "fedcba9876543210"):
        (tmp_path / name).mkdir()
        if name != "fedcba9876543210":
            (tmp_path / name / "run.json").write_text("{}")
    assert [path.name for path in trial_folders(tmp_path)] == ["0123456789abcdef", "0123456789abcdef-fresh"]
    assert [path.name for path in fresh_folders(tmp_path)] == ["fresh-chosen"]
    assert is_tuning(tmp_path) and not is_tuning(tmp_path / "cot")
