"""From a folder of TIFFs without masks to cells, polarity and the report."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

import deepspot_scale as ds
from deepspot_scale import cli
from deepspot_scale.simulation import wound_assay

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def scene() -> wound_assay.AssayScene:
    return wound_assay.draw_scene(np.random.default_rng(4))


@pytest.mark.skipif(not README.is_file(), reason="no README beside the package")
def test_one_command_after_convert_measures_cells_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scene: wound_assay.AssayScene
) -> None:
    rng = np.random.default_rng(5)
    spots = wound_assay.plant_spots(rng, scene, 2.0)
    image = wound_assay.photograph(rng, scene, spots)
    folder = tmp_path / "FOLDER"
    folder.mkdir()
    for channel, counts in zip(wound_assay.CHANNELS, image, strict=True):
        tifffile.imwrite(folder / f"B03_0_{channel}.tif", counts)
    monkeypatch.chdir(tmp_path)
    convert, info, run = lines_of_the_readme()
    for line in (convert, info, [*run, "--reference", "angle:90"]):
        answer = CliRunner().invoke(cli.app, line)
        assert answer.exit_code == 0, answer.output
    results = ds.open_run("RUN")
    cells = results.read("cells")
    assert len(cells) == results.fields["n_segmented_nuclei"].sum()
    assert abs(len(cells) - scene.cells.max()) <= 1
    assert results.fields["n_cells_grown"].sum() == 0
    labels = ds.open_plate("RUN/cells.zarr").open("B/03/0")
    made = labels.read(t=0, channel=0, z=0, window=(slice(None), slice(None)))
    assert share_matched(made.astype(int), scene.cells) >= 0.9
    found = results.read("spots")
    assert (found["cell"] > 0).mean() > 0.8
    page = Path("RUN/report.html").read_text(encoding="utf-8")
    assert "nuclei were segmented in this run" in page


def lines_of_the_readme() -> list[list[str]]:
    """Return the commands of the README's part on images without masks."""
    text = README.read_text(encoding="utf-8").replace("\\\n", " ")
    part = text.partition("without masks\n")[2]
    block = re.findall(r"```bash\n(.*?)```", part, re.DOTALL)[0]
    return [shlex.split(line)[1:] for line in block.splitlines()]


def share_matched(made: np.ndarray, truth: np.ndarray) -> float:
    """Return which share of true cells has a made one with an overlap above .5."""
    matched = 0
    numbers = np.unique(truth)[1:]
    for number in numbers:
        own = truth == number
        other = np.bincount(made[own]).argmax()
        same = made == other
        matched += bool(other) and (own & same).sum() > 0.5 * (own | same).sum()
    return matched / len(numbers)
