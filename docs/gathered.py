"""What pages take from the package and the repository, so that it is written once.

A page comes in; each of its marks becomes text that is made of the code or of another
file. Elsewhere, on a page that is read as plain Markdown, a mark is an unseen comment.

    <!-- gathered: commands -->                        every command and its options
    <!-- gathered: models -->                          the cards of the shipped networks
    <!-- gathered: schemes -->                         names of files that are read
    <!-- gathered: drawing blockwise/geometry.py -->   drawings of a module's docstring
    <!-- gathered: text deploy/README.md -->           another page, below its title
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "deepspot_scale"
MARK = re.compile(r"<!-- gathered: (\w+) ?(\S*) -->")
LINKS = {
    "deploy/README.md": {
        "(kubernetes/README.md)": "(kubernetes.md)",
        "(containers)": "(containers.md)",
        "(../docs/workflows.md)": "(../workflows.md)",
    },
    "deploy/kubernetes/README.md": {
        "[../containers](../containers/README.md)": "[these recipes](containers.md)"
    },
    "benchmarks/README.md": {"(results/": "(../../benchmarks/results/"},
}
"""Links of other pages, and where they lead on the site."""


def fill_page(_: Any, __: str, source: list[str]) -> None:
    """Replace the marks of a page, as Sphinx calls it when it has read one."""
    source[0] = fill(source[0])


def fill(text: str) -> str:
    """Return a page with its marks replaced."""
    return MARK.sub(lambda mark: _TEXTS[mark[1]](mark[2]), text)


def describe_commands(_: str = "") -> str:
    """Return every command and its options, as the program knows them."""
    from deepspot_scale.cli import app

    return "\n\n".join(_sections("deepspot-scale", typer.main.get_command(app)))


def _sections(name: str, command: Any) -> Iterator[str]:
    if subcommands := getattr(command, "commands", {}):
        for word, each in subcommands.items():
            yield from _sections(f"{name} {word}", each)
        return
    context = command.make_context(name, [], resilient_parsing=True)
    records = (each.get_help_record(context) for each in command.get_params(context))
    rows = [_row(*record) for record in records if record and record[0] != "--help"]
    text, _, example = (command.help or "").partition("Example: ")
    example, _, rest = example.partition("\n\n")
    yield f"## {name.removeprefix('deepspot-scale ')}"
    yield _escaped(text)
    if example:
        yield f"```bash\n{' '.join(example.split())}\n```"
    if rest:
        yield _escaped(rest)
    if rows:
        yield "\n".join(["| option | meaning |", "| --- | --- |", *rows])


def _row(words: str, meaning: str) -> str:
    shown = words.replace("<list[str]>", "<str> ...").replace("|", "\\|")
    return f"| `{shown}` | {_escaped(meaning)} |"


def _escaped(text: str) -> str:
    """Return plain words of the program as Markdown that shows them as they are."""
    words = " ".join(text.split()) if "\n\n" not in text.strip() else text.strip()
    return re.sub(r"([*_<\[\]|])", r"\\\1", words)


def describe_models(_: str = "") -> str:
    """Return the cards of the shipped networks, a section each."""
    cards = sorted((PACKAGE / "networks/models").glob("*.md"))
    return "\n\n".join(_deeper(card.read_text(encoding="utf-8")) for card in cards)


def _deeper(text: str) -> str:
    """Return a page whose headings are one level lower."""
    return re.sub(r"^(#+ )", r"#\1", text, flags=re.MULTILINE)


def describe_schemes(_: str = "") -> str:
    """Return the schemes of file names, with an example each."""
    from deepspot_scale.io.conversion.schemes import SCHEMES

    rows = (f"| {_escaped(each.name)} | `{each.example}` |" for each in SCHEMES)
    return "\n".join(["| scheme | example |", "| --- | --- |", *rows])


def draw(module: str) -> str:
    """Return the indented parts of a module's opening paragraph, as they are drawn."""
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    words = ast.get_docstring(tree) or ""
    drawings = re.findall(r"(?:^ {4}.*\n?(?:^ *\n(?= {4}))?)+", words, re.MULTILINE)
    if not drawings:
        raise ValueError(f"{module} draws nothing")
    shown = (textwrap.dedent(each).rstrip() for each in drawings)
    return "\n\n".join(f"```text\n{each}\n```" for each in shown)


def take_text(path: str) -> str:
    """Return another page below its title, its links as they are on the site."""
    text = (ROOT / path).read_text(encoding="utf-8")
    for link, target in LINKS.get(path, {}).items():
        if link not in text:
            raise ValueError(f"{path} has no link {link}; mend docs/gathered.py")
        text = text.replace(link, target)
    return re.sub(r"\A# .*\n+", "", text)


_TEXTS = {
    "commands": describe_commands,
    "models": describe_models,
    "schemes": describe_schemes,
    "drawing": draw,
    "text": take_text,
}
