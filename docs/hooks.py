"""Make the command line's reference and llms.txt from the code when the manual is built."""

import re
from pathlib import Path
from typing import Any


def on_pre_build(config: Any) -> None:
    """Write `reference/cli.md` from the commands' own help, and `reference/controls.md` from the map of controls."""
    for name, text in (("cli.md", command_line()), ("controls.md", reasoning_controls())):
        page = Path(config["docs_dir"]) / "reference" / name
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def on_post_build(config: Any) -> None:
    """Write `llms.txt` (a sentence on each page), `llms-full.txt` (their text) and the pages as Markdown."""
    docs, site = Path(config["docs_dir"]), Path(config["site_dir"])
    pages = [docs / name for name in page_names(config["nav"]) if name.endswith(".md")]
    texts = {page.relative_to(docs).as_posix(): page.read_text(encoding="utf-8") for page in pages}
    index = "\n".join(f"- [{heading(text)}]({name}): {first_sentence(text)}" for name, text in texts.items())
    head = f"# {config['site_name']}\n\n> {config['site_description']}"
    (site / "llms.txt").write_text(f"{head}\n\n## Manual\n\n{index}\n", encoding="utf-8")
    (site / "llms-full.txt").write_text("\n\n".join(texts.values()), encoding="utf-8")
    for name, text in texts.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text, encoding="utf-8")


def page_names(nav: Any) -> list[str]:
    """Return the files that a navigation names, in its order."""
    if isinstance(nav, str):
        return [nav]
    entries = nav.values() if isinstance(nav, dict) else nav
    return [name for entry in entries for name in page_names(entry)]


def heading(text: str) -> str:
    """Return the first heading of a page."""
    return text.partition("\n")[0].lstrip("# ")


def first_sentence(text: str) -> str:
    """Return the first sentence of a page's first paragraph of prose, without links; nothing where it has none."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for paragraph in prose.split("\n\n")[1:]:
        if re.match(r"\w|`|\*\*", paragraph):
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split())).replace("**", "")
            return re.split(r"(?<=[.?!]) ", plain)[0]
    return ""


def command_line() -> str:
    """Return the reference of all commands as Markdown."""
    from typer.main import get_command

    from tale_dspy.cli.main import app

    group: Any = get_command(app)
    parts = ["# Command line\n", "Every flag can also stand in a `--config` file or a `TALE_<FLAG>` variable.\n"]
    for name, command in sorted(group.commands.items()):
        about = [f"{text}\n" for text in (command.help, command.epilog) if text]
        parts += [f"## tale {name}\n", *about, "| flag | meaning | default |", "| --- | --- | --- |"]
        for parameter in command.params:
            if parameter.name == "help":
                continue
            flag = ", ".join(f"`{opt}`" for opt in parameter.opts) if parameter.param_type_name == "option" else ""
            flag = flag or f"`{(parameter.name or '').upper()}`"
            meaning = (getattr(parameter, "help", None) or "").replace("|", "\\|").replace("\n", " ")
            default = parameter.default
            shown = "" if default is None or callable(default) or default is False else f"`{default}`"
            parts.append(f"| {flag} | {meaning} | {shown} |")
        parts.append("")
    return "\n".join(parts)


def reasoning_controls() -> str:
    """Return which model takes what as Markdown: what `tale doctor --controls` prints."""
    from tale_dspy.backends.control_registry import controls_table

    head = (
        "# Which model takes what\n\n"
        "Printed by `tale doctor --controls`. The first row that fits a model string holds; a model without a row\n"
        "takes its budget in the prompt. `none` switches thinking off where the column Off says yes.\n"
        "Rows of your own come first: [Choose a provider and an effort](../guides/providers-and-effort.md).\n\n"
    )
    return head + controls_table() + "\n"
