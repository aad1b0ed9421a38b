"""From a folder of TIFFs with masks to the report, by the lines of the site."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from typer.testing import CliRunner

from deepspot_scale import cli
from deepspot_scale.simulation import render_spots

HOWTO = Path(__file__).parents[1] / "docs/howto"
WELLS = ("B03", "C04")
N_SPOTS = 160


def write_images(folder: Path) -> None:
    """Write two wells of one field: four cells with their nuclei, spots all over."""
    rng = np.random.default_rng(0)
    cells = np.kron(np.array([[1, 2], [3, 4]]), np.ones((128, 128))).astype(np.uint16)
    y, x = np.indices((256, 256)) % 128 - 64
    nuclei = np.where(y**2 + x**2 < 25**2, cells, 0).astype(np.uint16)
    for well in WELLS:
        points = rng.uniform(4, 252, (N_SPOTS, 2))
        light = render_spots(
            (256, 256), points, np.full(N_SPOTS, 300.0), np.full(N_SPOTS, 1.3)
        )
        image = rng.poisson(light + 100).astype(np.uint16)
        (folder / "MASKS").mkdir(exist_ok=True, parents=True)
        (folder / "FOLDER").mkdir(exist_ok=True)
        tifffile.imwrite(folder / "FOLDER" / f"{well}_0_FISH.tif", image)
        tifffile.imwrite(folder / "MASKS" / f"{well}_0_cells.tif", cells)
        tifffile.imwrite(folder / "MASKS" / f"{well}_0_nuclei.tif", nuclei)
    wound = {"row": ["B", "C"], "column": ["03", "04"], "field": 0, "angle_deg": 90}
    pd.DataFrame(wound).to_csv(folder / "wound.csv", index=False)
    plate_map = {"well": WELLS, "condition": ["control", "migrating"]}
    pd.DataFrame(plate_map).to_csv(folder / "wells.csv", index=False)


def lines_of(page: str) -> list[list[str]]:
    """Return the commands of a page, in its order."""
    text = (HOWTO / page).read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    words = [shlex.split(line) for block in blocks for line in block.splitlines()]
    return [each[1:] for each in words if each[:1] == ["deepspot-scale"]]


@pytest.mark.skipif(not HOWTO.is_dir(), reason="no docs beside the package")
def test_the_lines_of_the_site_lead_from_tiffs_with_masks_to_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path)
    monkeypatch.chdir(tmp_path)
    walk = [
        *(line for line in lines_of("images.md") if {"--masks", "info"} & {*line}),
        *(line for line in lines_of("runs.md") if "--reference" in line),
        *(line for line in lines_of("exports.md") if "anndata" in line),
    ]
    walk.sort(key=lambda line: ["convert", "info", "run", "export"].index(line[0]))
    assert [line[0] for line in walk] == ["convert", "info", "run", "export"]
    for line in walk:
        ended = CliRunner().invoke(cli.app, line)
        assert ended.exit_code == 0, (line, ended.output, ended.exception)
    page = (tmp_path / "RUN" / "report.html").read_text(encoding="utf-8")
    assert "migrating" in page
    cells = pd.read_parquet(tmp_path / "RUN" / "cells")
    assert len(cells) == 8
    assert 0.85 * 2 * N_SPOTS < cells["n_spots"].sum() <= 2 * N_SPOTS
    assert list((tmp_path / "RUN" / "exports").glob("*.h5ad"))
