"""The page about workflows: its commands exist, and so do the files that it names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deepspot_scale import cli

PAGE = Path(__file__).parents[2] / "docs" / "workflows.md"
TEXT = PAGE.read_text(encoding="utf-8")
LINES = [
    line
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("deepspot-scale")
]


@pytest.mark.parametrize("line", LINES)
def test_every_option_on_the_page_exists(line: str) -> None:
    _, command, *words = shlex.split(line)
    shown = CliRunner().invoke(cli.app, [command, "--help"], terminal_width=300)
    assert shown.exit_code == 0
    for word in words:
        assert not word.startswith("--") or word in shown.output


def test_every_link_of_the_page_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
