"""Spots per cell as they are drawn: every well, and every condition's cells."""

import pandas as pd
import pytest

from deepspot_scale.report.cell_spots import draw_spread, spread_figures, spread_table


def counts_of(*lines, **values):
    """Lines of condition, column, n_spots, n_cells."""
    table = pd.DataFrame(lines, columns=["condition", "column", "n_spots", "n_cells"])
    named = {"row": "A", "channel": "RNA", "gene": "", "replicate": ""}
    return table.assign(**named | {"acquisition": 0, "t": 0, "z": 0} | values)


TWO = counts_of(
    ("drug", "01", 4, 3),
    ("drug", "02", 6, 1),
    ("none", "03", 0, 2),
    ("none", "03", 9, 1),
)


def test_every_well_is_a_median_with_its_range_and_each_condition_has_its_n():
    left, right = draw_spread(TWO).axes
    dots = [y for line in left.lines for y in line.get_ydata()]
    assert dots == [4, 6, 0]
    names = [label.get_text() for label in left.get_xticklabels()]
    assert names == ["A01", "A02", "A03"]
    words = [label.get_text() for label in right.get_xticklabels()]
    assert words == ["drug\nn = 4", "none\nn = 3"]


def test_the_table_pools_the_cells_of_a_condition():
    drug, none = spread_table(TWO).to_dict("records")
    assert (drug["n_wells"], drug["n_cells"], drug["mean"]) == (2, 4, 4.5)
    assert (none["n_wells"], none["least"], none["most"]) == (1, 0, 9)


@pytest.mark.parametrize("most", [9, 4000])
def test_a_few_cells_with_far_more_spots_do_not_flatten_the_others(most):
    table = counts_of(("", "01", 3, 99), ("", "01", most, 1))
    left = draw_spread(table).axes[0]
    scale = left.get_yscale()
    assert scale == "function"
    assert left.get_ylim()[1] >= most


def test_channels_and_occasions_have_figures_of_their_own():
    tables = [TWO, TWO.assign(t=1), TWO.assign(channel="DNA")]
    whole = pd.concat(tables, ignore_index=True)
    plots = list(spread_figures(whole))
    assert len({plot.name for plot in plots}) == 3
    assert sum(plot.numbers["n_cells"].sum() for plot in plots) == 21
