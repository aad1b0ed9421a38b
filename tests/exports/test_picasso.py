"""Picasso's HDF5 and YAML: half-pixel origins, and what it would drop."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from deepspot_scale.errors import InputWarning
from deepspot_scale.exports.localised_movies import MovieGeometry
from deepspot_scale.exports.picasso import write_picasso

MOVIE = MovieGeometry(64, 48, 20, 100.0)


def read(file: Path) -> np.ndarray:
    with h5py.File(file) as stored:
        return np.asarray(stored["locs"])


def test_the_centre_of_the_first_pixel_is_zero(
    tmp_path: Path, draw_localisations: Any
) -> None:
    table = draw_localisations(1).assign(x_nm=50.0, y_nm=250.0)
    write_picasso(table, MOVIE, tmp_path / "t.hdf5")
    rows = read(tmp_path / "t.hdf5")
    np.testing.assert_array_equal(rows["x"], 0)
    np.testing.assert_array_equal(rows["y"], 2)
    np.testing.assert_array_equal(rows["frame"], table["frame"])
    np.testing.assert_allclose(rows["lpx"], table["uncertainty_nm"] / 100)


def test_the_yaml_file_has_what_picasso_asks_for(
    tmp_path: Path, draw_localisations: Any
) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    write_picasso(draw_localisations(2), MOVIE, tmp_path / "t.hdf5")
    about = yaml.safe_load((tmp_path / "t.yaml").read_text())
    needed = {"Width": 64, "Height": 48, "Frames": 20, "Pixelsize": 100.0}
    assert needed.items() <= about.items()


def test_a_row_that_lacks_a_number_is_left_out_and_told(
    tmp_path: Path, draw_localisations: Any
) -> None:
    table = draw_localisations(3)
    table.loc[3, "photons"] = np.nan
    with pytest.warns(InputWarning, match="1 localisations lack a number"):
        write_picasso(table, MOVIE, tmp_path / "t.hdf5")
    assert len(read(tmp_path / "t.hdf5")) == len(table) - 1


def test_columns_that_are_not_known_are_not_there(
    tmp_path: Path, draw_localisations: Any
) -> None:
    table = draw_localisations(4, camera=False)
    with pytest.warns(InputWarning, match="have no uncertainty"):
        write_picasso(table, MOVIE, tmp_path / "t.hdf5")
    rows = read(tmp_path / "t.hdf5")
    assert rows.dtype.names == ("frame", "x", "y", "sx", "sy")
    assert len(rows) == len(table)


def test_what_picasso_will_not_load_is_told(
    tmp_path: Path, draw_localisations: Any
) -> None:
    table = draw_localisations(5)
    table.loc[:1, "x_nm"] = 20.0
    with pytest.warns(InputWarning, match="2 localisations in the outer half"):
        write_picasso(table, MOVIE, tmp_path / "t.hdf5")
    assert len(read(tmp_path / "t.hdf5")) == len(table)


def test_picasso_reads_the_same_places(tmp_path: Path, draw_localisations: Any) -> None:
    io = pytest.importorskip("picasso.io", reason="picassosr is not installed")
    table = draw_localisations(6).assign(n_frames=2, z_nm=33.0, uncertainty_z_nm=9.0)
    write_picasso(table, MOVIE, tmp_path / "t.hdf5")
    locs, info = io.load_locs(str(tmp_path / "t.hdf5"))
    assert len(locs) == len(table)
    for axis in "xy":
        found = (locs[axis].to_numpy(float) + 0.5) * info[0]["Pixelsize"]
        np.testing.assert_allclose(found, table[f"{axis}_nm"], atol=0.01)
    np.testing.assert_array_equal(locs["frame"], table["frame"])
    np.testing.assert_allclose(locs["z"], 33)


def test_picasso_works_on_with_the_table(
    tmp_path: Path, draw_localisations: Any
) -> None:
    io = pytest.importorskip("picasso.io", reason="picassosr is not installed")
    from picasso import postprocess, render

    table = draw_localisations(7, n=3000)
    write_picasso(table, MOVIE, tmp_path / "t.hdf5")
    locs, info = io.load_locs(str(tmp_path / "t.hdf5"))
    size = {"disp_px_size": 50.0, "viewport": ((0, 0), (48, 64))}
    n, image = render.render(locs, info, blur_method="gaussian", **size)
    assert n > 2900
    assert image.shape == (96, 128)
    assert 0 < len(postprocess.link(locs, info, 0.1, 1)) <= len(locs)


def test_picassos_own_fit_has_the_origin_that_is_written(
    tmp_path: Path, draw_localisations: Any
) -> None:
    localize = pytest.importorskip("picasso.localize", reason="it is not installed")
    import tifffile
    from picasso.io import load_movie
    from scipy.special import erf

    def bell(n: int, centre: float) -> np.ndarray:
        return np.diff(erf((np.arange(n + 1) - 0.5 - centre) / 1.1 / 2**0.5)) / 2

    light = 3000 * np.outer(bell(48, 12.3), bell(64, 20.2)) + 20
    frames = np.random.default_rng(1).poisson(light, (20, 48, 64)) + 100
    tifffile.imwrite(tmp_path / "t.tif", frames.astype(np.uint16))
    movie, _ = load_movie(str(tmp_path / "t.tif"))
    camera = {"Baseline": 100, "Sensitivity": 1.0, "Gain": 1, "Qe": 1.0}
    found = localize.identify(movie, 500, 7)
    found = found[0] if isinstance(found, tuple) else found
    camera["Pixelsize"] = 100
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, _ = localize.fit(
            movie, camera_info=camera, identifications=found, box=7, multiprocess=False
        )
    movie.close()  # Else the open file is a warning in a later test.
    table = draw_localisations(1, n=20).assign(x_nm=2070.0, y_nm=1280.0)
    write_picasso(table, MOVIE, tmp_path / "t.hdf5")
    rows = read(tmp_path / "t.hdf5")
    for axis in "xy":
        assert theirs[axis].mean() == pytest.approx(rows[axis].mean(), abs=0.03)
