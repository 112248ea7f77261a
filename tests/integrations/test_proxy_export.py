"""The folder that starts a proxy."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import tale_dspy
from tale_dspy.errors import UsageError
from tale_dspy.integrations.proxy_export import write_proxy_folder
from tests.integrations.programs import regression_program, saved


def test_the_folder_is_whole(tmp_path: Path) -> None:
    source = saved(regression_program(), tmp_path)
    written = write_proxy_folder(source, tmp_path / "a" / "out")
    assert [path.name for path in written] == ["policy.json", "tale_hook.py", "config.yaml", "start.sh", "README.md"]
    assert written[0].read_bytes() == source.read_bytes()
    assert write_proxy_folder(written[0], tmp_path / "a" / "out") == written  # again, over itself


def test_the_proxy_binds_to_the_loopback_interface_and_wants_a_key(tmp_path: Path) -> None:
    _, _, config, start, readme = write_proxy_folder(saved(regression_program(), tmp_path), tmp_path / "out")
    settings = yaml.safe_load(config.read_text())
    assert settings["general_settings"] == {"master_key": "os.environ/LITELLM_MASTER_KEY"}
    assert settings["litellm_settings"]["callbacks"] == ["tale_hook.tale", "prometheus"]
    assert "--host 127.0.0.1" in start.read_text()
    assert len([line for line in readme.read_text().splitlines() if line.strip()]) <= 10


@pytest.mark.parametrize(
    ("program", "estimate", "sentence"),
    [
        (regression_program(), "never", "from the question's text, without a call."),
        (tale_dspy.BudgetedChainOfThought("question -> answer", 90), "never", "90 for every question."),
        (tale_dspy.TaleEP("question -> answer"), "call", "estimated by the model"),
    ],
    ids=["regression", "fixed", "tale-ep"],
)
def test_the_hook_loads_the_policy_beside_it(tmp_path: Path, program: object, estimate: str, sentence: str) -> None:
    out = tmp_path / "out"
    write_proxy_folder(saved(program, tmp_path), out)  # type: ignore[arg-type]
    assert sentence in (out / "README.md").read_text()
    source = (out / "tale_hook.py").read_text()
    namespace: dict[str, object] = {"__file__": str(out / "tale_hook.py")}
    exec(compile(source, "tale_hook.py", "exec"), namespace)
    hook = namespace["tale"]
    assert (hook.mode, hook.estimate, hook.holdout) == ("auto", estimate, 0.0)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["README.md", "config.yaml", "start.sh", "tale_hook.py", "policy.json"])
def test_files_of_a_project_are_not_replaced(name: str, tmp_path: Path) -> None:
    source = saved(regression_program(), tmp_path)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / name).write_text("mine")
    with pytest.raises(UsageError, match=f"{name} is there already and is no folder of a LiteLLM proxy"):
        write_proxy_folder(source, tmp_path / "project")
    assert (tmp_path / "project" / name).read_text() == "mine"


def test_a_program_without_budgets_is_refused(tmp_path: Path) -> None:
    source = saved(tale_dspy.VanillaCoT("question -> answer"), tmp_path)
    with pytest.raises(tale_dspy.UsageError, match="VanillaCoT gives no budgets"):
        write_proxy_folder(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_modules_of_the_export_do_not_load_litellm() -> None:
    code = "import sys, tale_dspy.integrations.exports; print('litellm' in sys.modules, 'mlflow' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False False"
