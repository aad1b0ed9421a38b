"""OME-NGFF metadata: what `metadata_blocks` builds, `metadata` parses back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.errors import FieldError, PlateError
from deepspot_scale.io.ome_zarr.metadata import (
    MICROMETRES,
    ImageListing,
    Level,
    parse_image,
    parse_plate,
    parse_well,
    wrap_block,
    zarr_format,
)
from deepspot_scale.io.ome_zarr.metadata_blocks import (
    multiscales_block,
    omero_block,
    plate_block,
    well_block,
)
from deepspot_scale.vocabulary import FieldAddress

VERSIONS = st.sampled_from(["0.4", "0.5"])
NAMES = st.text("ABZ019", min_size=1, max_size=3)
ADDRESSES = st.lists(
    st.builds(FieldAddress, NAMES, NAMES, NAMES), min_size=1, max_size=9, unique=True
)


def _stored(block: dict[str, Any], version: Any) -> zarr.Group:
    """Return a group that holds a block, as it comes back from a store."""
    store: dict[str, Any] = {}
    number = zarr_format(version)
    attributes = wrap_block(block, version)
    zarr.create_group(store, zarr_format=number, attributes=attributes)
    return zarr.open_group(store, mode="r", zarr_format=number)


def _node(block: dict[str, Any]) -> zarr.Group:
    return _stored(block, "0.5")


@given(addresses=ADDRESSES, version=VERSIONS)
def test_a_plate_lists_each_of_its_wells_and_fields_once(
    addresses: list[FieldAddress], version: Any
) -> None:
    node = _stored(plate_block(addresses, "name", {}, version), version)
    name, wells = parse_plate(node, "plate")
    assert name == "name"
    assert len(wells) == len(set(wells))
    assert set(wells) == {f"{each.row}/{each.column}" for each in addresses}
    here = [each for each in addresses if f"{each.row}/{each.column}" == wells[0]]
    numbers = {each: number for number, each in enumerate(here)}
    fields = parse_well(_stored(well_block(here, numbers, version), version), "well")
    assert fields == tuple((each.field, numbers[each]) for each in here)


def test_wells_come_in_the_order_of_rows_and_columns() -> None:
    paths = ["AA/1", "B/10", "B/2", "A/03"]
    block = plate_block(
        [FieldAddress(*p.split("/"), "0") for p in paths], "", {}, "0.5"
    )
    assert parse_plate(_node(block), "plate") == ("", ("A/03", "B/2", "B/10", "AA/1"))


@given(
    sizes=st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=2),
    unit=st.sampled_from(sorted(MICROMETRES)),
    version=VERSIONS,
)
def test_an_image_listing_written_then_read_is_the_same(
    sizes: list[float], unit: str, version: Any
) -> None:
    scale = (1.0, *sizes)
    listing = ImageListing(
        axes="cyx",
        units_um=(None, MICROMETRES[unit], MICROMETRES[unit]),
        levels=(
            Level("0", scale),
            Level("1", tuple(2 * size for size in scale), (0.0, *sizes)),
        ),
        channels=("DAPI", "FISH"),
    )
    block = multiscales_block(listing, "0", version)
    block |= omero_block(listing.channels, np.dtype("uint16"))
    parsed = parse_image(_stored(block, version), "image")
    assert parsed == listing
    assert parsed.spacing_um(1).keys() == {"y", "x"}


def test_a_scale_of_all_levels_multiplies_each() -> None:
    block = {
        "multiscales": [
            {
                "axes": [{"name": "y", "unit": "nanometer"}, {"name": "x"}],
                "coordinateTransformations": [{"type": "scale", "scale": [10, 3]}],
                "datasets": [
                    {
                        "path": "0",
                        "coordinateTransformations": [
                            {"type": "scale", "scale": [20, 2]}
                        ],
                    },
                    {"path": "1"},
                ],
            }
        ]
    }
    listing = parse_image(_node(block), "image")
    assert [level.scale for level in listing.levels] == [(200, 6), (10, 3)]
    assert listing.spacing_um() == {"y": pytest.approx(0.2)}


def test_a_level_is_moved_by_its_own_translation_and_then_by_that_of_all() -> None:
    def moves(scale: list[float], translation: list[float]) -> dict[str, object]:
        kinds = {"scale": scale, "translation": translation}
        return {
            "coordinateTransformations": [{"type": k, k: n} for k, n in kinds.items()]
        }

    block = {
        "axes": [{"name": "y", "unit": "millimeter"}, {"name": "x"}],
        **moves([10, 3], [100, 7]),
        "datasets": [{"path": "0", **moves([2, 5], [1, 2])}],
    }
    listing = parse_image(_node({"multiscales": [block]}), "image")
    assert listing.levels == (Level("0", (20, 15), (110, 13)),)
    assert listing.origin_um() == {"y": 110_000}


@pytest.mark.parametrize(
    "path", ["../B/03", "B", "B/03/0", "/B/03", "B/..", "", None, 3]
)
def test_a_well_outside_the_plate_is_refused(path: object) -> None:
    with pytest.raises(PlateError, match="well paths such as B/03"):
        parse_plate(_node({"plate": {"wells": [{"path": path}]}}), "plate")


def test_what_is_listed_twice_is_refused() -> None:
    twice = [{"path": "B/03"}, {"path": "B/03"}]
    with pytest.raises(PlateError, match="B/03 is listed more than once"):
        parse_plate(_node({"plate": {"wells": twice}}), "plate")
    with pytest.raises(PlateError, match="field 0 is listed more than once"):
        parse_well(_node({"well": {"images": [{"path": "0"}] * 2}}), "well")


@pytest.mark.parametrize("scale", [[1], [0, 1], [1, -1], [1, float("inf")], ["a", 1]])
def test_a_scale_that_is_none_is_an_error_of_the_field(scale: list[object]) -> None:
    transformation = {"type": "scale", "scale": scale}
    dataset = {"path": "0", "coordinateTransformations": [transformation]}
    axes = [{"name": "y"}, {"name": "x"}]
    block = {"multiscales": [{"axes": axes, "datasets": [dataset]}]}
    with pytest.raises(FieldError, match="expected multiscales metadata"):
        parse_image(_node(block), "image")
