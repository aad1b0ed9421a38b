"""What all commands have in common, and those about models and finished runs."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

import deepspot_scale as ds
from deepspot_scale.cli import app
from deepspot_scale.networks import model_list
from deepspot_scale.networks.model_list import cached_exports
from deepspot_scale.networks.weights import shipped_models

DONE, OTHER, USAGE = 0, 1, 2
Command = Callable[..., Any]


def iter_commands() -> Iterator[tuple[str, Any]]:
    """Yield every command with the words that call it."""

    def below(words: str, node: Any) -> Iterator[tuple[str, Any]]:
        for name, child in getattr(node, "commands", {}).items():
            yield f"{words} {name}".strip(), child
            yield from below(f"{words} {name}".strip(), child)

    return below("", typer.main.get_command(app))


COMMANDS = dict(iter_commands())


@pytest.mark.parametrize("words", COMMANDS)
def test_help_starts_with_what_a_command_is_for_and_one_example(words: str) -> None:
    runner = CliRunner()
    shown = runner.invoke(app, [*words.split(), "--help"], terminal_width=300)
    assert shown.exit_code == DONE
    lines = [line.strip() for line in shown.output.splitlines() if line.strip()]
    assert lines[1].endswith(".")
    assert lines[1][0].isupper()
    assert lines[2].startswith(f"Example: deepspot-scale {words}")
    flags = {flag for p in COMMANDS[words].params for flag in p.opts}
    used = {word for word in shlex.split(lines[2]) if word.startswith("--")}
    assert used <= flags


@pytest.mark.parametrize("words", COMMANDS)
def test_every_option_says_what_it_is(words: str) -> None:
    for parameter in COMMANDS[words].params:
        assert parameter.help, f"{words} {parameter.name}"


def test_the_version_is_told(command: Command) -> None:
    assert command("--version").out == f"deepspot-scale {ds.__version__}\n"


def test_a_command_or_option_that_is_all_but_right_gets_a_hint(
    command: Command,
) -> None:
    assert "detect" in command("detekt", "a.tif").err
    assert "--channel" in command("info", "p", "--chanel", "0").err


def complete(*words: str) -> list[str]:
    """Return what a shell would offer for the last word."""
    environment = {
        "_DEEPSPOT_SCALE_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("deepspot-scale", *words)),
        "COMP_CWORD": str(len(words)),
    }
    shown = CliRunner().invoke(app, [], env=environment, prog_name="deepspot-scale")
    return shown.output.split()


def test_shells_complete_commands_options_and_names() -> None:
    assert complete("de") == ["detect", "demo", "denoise"]
    assert "--spot-sigma" in complete("run", "--sp")
    assert complete("run", "--detector", "pa") == ["paper"]
    assert complete("run", "--project", "m") == ["max", "mean"]
    models = ["deepspot", "deepspot-fast", "deepstorm3d-1um"]
    assert complete("models", "describe", "deep") == models
    assert complete("export", "RUN", "--to", "cs") == ["csv"]


def test_completion_is_installed_where_the_shell_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))
    ended = CliRunner().invoke(
        app, ["--install-completion"], prog_name="deepspot-scale"
    )
    assert ended.exit_code == DONE, ended.output
    assert "deepspot-scale" in (tmp_path / ".bashrc").read_text()
    script = tmp_path / ".bash_completions/deepspot-scale.sh"
    assert "_DEEPSPOT_SCALE_COMPLETE" in script.read_text()


# --- models -----------------------------------------------------------------------


def test_models_are_listed_described_and_verified(command: Command) -> None:
    listed = command("models", "list")
    assert listed.code == DONE
    assert listed.out.startswith("deepspot: ")
    described = command("models", "describe", "deepspot")
    digest = shipped_models()["deepspot"]["sha256"]
    assert f"sha256: {digest}" in described.out
    assert "blocks: 10" in described.out
    verified = command("models", "verify")
    assert (verified.code, verified.out.split()) == (DONE, sorted(shipped_models()))


def test_a_model_that_is_not_there_is_named_with_the_nearest(
    command: Command,
) -> None:
    ended = command("models", "describe", "deepsopt")
    assert ended.code == OTHER
    assert "no model 'deepsopt'" in ended.err
    assert "Did you mean 'deepspot'?" in ended.err


def test_exports_in_the_cache_are_told_by_the_model_they_were_made_of(
    tmp_path: Path,
) -> None:
    digest = shipped_models()["deepspot"]["sha256"][:16]
    for name in (f"{digest}-openvino-2026.0", "0123-openvino-2026.0", "else"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "net.xml").write_bytes(bytes(10))
    (tmp_path / f"{digest}-openvino-2026.0/net.bin").write_bytes(bytes(90))
    found = cached_exports(tmp_path)
    assert [(export.model, export.n_bytes) for export in found] == [
        ("", 10),
        ("deepspot", 100),
    ]
    assert cached_exports(tmp_path / "no") == []


def test_a_damaged_model_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    for file in model_list.SHIPPED.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / shipped_models()["deepspot"]["file"]
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    monkeypatch.setattr("deepspot_scale.networks.weights.SHIPPED", tmp_path)
    ended = command("models", "verify")
    assert ended.code == OTHER
    assert "is damaged" in ended.err


# --- finished runs ----------------------------------------------------------------


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> Path:
    """A finished run on one small field."""
    folder = tmp_path_factory.mktemp("results")
    plate = write_plate(folder / "plate.zarr", {"B/03/0": draw_scene(0, (64, 64))})
    run_quickly(plate, folder / "run")
    return folder / "run"


def test_a_report_is_written_anew(run: Path, command: Command) -> None:
    ended = command("report", run)
    assert (ended.code, ended.out.strip()) == (DONE, str(run / "report.html"))
    assert ended.err == ""
    moved = command("report", run, "--plate", run.parent / "plate.zarr")
    assert (moved.code, moved.err) == (DONE, "")


def test_a_report_without_the_plate_says_so(
    run: Path, tmp_path: Path, command: Command
) -> None:
    for name in run.rglob("*"):
        target = tmp_path / name.relative_to(run)
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.is_file():
            target.write_bytes(name.read_bytes())
    facts = (run / "provenance.json").read_text("utf-8")
    (tmp_path / "provenance.json").write_text(facts.replace("plate.zarr", "gone.zarr"))
    ended = command("report", tmp_path)
    assert ended.code == DONE
    assert "a report without images; see --plate" in ended.err


def test_a_folder_without_a_run_ends_in_code_2(
    tmp_path: Path, command: Command
) -> None:
    assert command("report", tmp_path).code == USAGE
    assert command("export", tmp_path, "--to", "csv").code == USAGE
    assert command("view", tmp_path, "B/03/0").code == USAGE


def test_a_run_is_exported(run: Path, tmp_path: Path, command: Command) -> None:
    ended = command("export", run, "--to", "csv", "--out", tmp_path / "tables")
    assert (ended.code, ended.out.strip()) == (DONE, str(tmp_path / "tables"))
    assert (tmp_path / "tables/spots.csv").is_file()
    assert command("export", run, "--to", "csv", "--out", tmp_path / "tables").code
    ended = command("export", run, "--to", "cvs")
    assert ended.code == USAGE
    assert "Did you mean 'csv'?" in ended.err
