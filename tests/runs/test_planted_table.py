"""The table of planted spots: when a loss is warned of, and that it is read back."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from deepspot_scale.io.tables import Folder
from deepspot_scale.runs.planted_table import (
    PLANTED,
    describe_losses,
    describe_planted,
    read_planted,
    write_planted,
)


def row(snr: float, before: int, after: int, n: int = 1000) -> dict[str, float]:
    own = {column.name: 1.0 for column in PLANTED}
    recalls = {"recall_raw": before / n, "recall": after / n}
    counts = {"n_planted": n, "n_matched_raw": before, "n_matched": after}
    return {**own, "snr": snr, **recalls, **counts}


@pytest.mark.parametrize(
    ("snr", "before", "after", "warned"),
    [
        (5.0, 970, 949, True),
        (5.0, 970, 951, False),
        (15.0, 1000, 979, True),
        (4.0, 900, 100, False),  # such spots are not sure in the raw image either
        (8.0, 900, 1000, False),
    ],
)
def test_a_loss_of_more_than_a_fiftieth_of_sure_spots_is_warned_of(
    snr: float, before: int, after: int, warned: bool
) -> None:
    table = pd.DataFrame([row(3.0, 10, 0), row(snr, before, after)])
    lines = list(describe_losses(table))
    assert len(lines) == warned
    if warned:
        for words in (f"{snr:g} times", f"{before} were", f"{after} after"):
            assert words in lines[0]
    assert len(list(describe_planted(table))) == 2


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    assert read_planted(folder) is None
    table = pd.DataFrame([row(5.0, 1, 2, n=3)])
    write_planted(folder, table)
    read = read_planted(folder)
    assert read is not None
    assert read["recall"][0] == 2 / 3
    assert list(read) == [column.name for column in PLANTED]
