#!/usr/bin/env bash
# Libraries: picassosr 0.11.3 (Picasso: Localize, Render): picasso.io.load_locs on an HDF5 file of localisations.
# Behaviour: load_locs leaves out each row in which any column is NaN, of columns that it does not need too, and each
#   row whose x or y is below 0. It neither warns nor raises: a table whose `lpz` is not known has no rows at all. Its own
#   fits put the centre of the first pixel at 0, so molecules in the outer half of that pixel are below 0; they go too.
# The guess: NaN in a column means that this one number is not known, and the rows are all read, as pandas, h5py and
#   locan do; molecules on the first half pixel are in the field as those on the last one are.
# Why it matters: who exports a table with a column of NaN for what was not measured (depth of a 2-D movie, uncertainty
#   without a camera's figures) gets an empty picture, or one with fewer molecules at two of its four edges, and a
#   density, an FRC and counts that are wrong without a word.
# Seen 2026-11-29 (Python 3.11, numpy 2.4.6, pandas 2.3.3), files of 1000 rows, x and y uniform over 32 x 32 pixels:
#   as they are:               1000 rows of 1000
#   lpz of one row NaN:        999 rows of 1000
#   lpz of all rows NaN:         0 rows of 1000
#   all moved by half a pixel:  972 rows of 1000
#   of the last, 28 lie in the outer half of the first pixels; warnings: 0
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check picassosr==0.11.3 h5py==3.16.0 numpy==2.4.6 pandas==2.3.3
cd "$tmp"
HOME="$tmp" QT_QPA_PLATFORM=offscreen "$tmp/venv/bin/python" - <<'PY'
import json
import warnings

import h5py
import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from picasso.io import load_locs

N, SIDE = 1000, 32
rng = np.random.default_rng(0)
names = ("x", "y", "photons", "sx", "sy", "bg", "lpx", "lpy", "lpz")
rows = np.zeros(N, [("frame", "u4")] + [(name, "f4") for name in names])
for name in names:
    rows[name] = 1
rows["x"], rows["y"] = rng.uniform(0.5, SIDE - 0.5, (2, N))
about = {"Width": SIDE, "Height": SIDE, "Frames": 1, "Pixelsize": 100}


def count(**columns):
    changed = rows.copy()
    for name, values in columns.items():
        changed[name] = values
    with h5py.File("t.hdf5", "w") as file:
        file["locs"] = changed
    with open("t.yaml", "w") as file:
        json.dump(about, file)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = len(load_locs("t.hdf5")[0])
    told.extend(str(each.message) for each in caught)
    return found


told = []
one = rows["lpz"].copy()
one[7] = np.nan
# From the outer corner of the first pixel to its centre, as Picasso's fits count.
corner = {axis: rng.uniform(0, SIDE, N) - 0.5 for axis in "xy"}
outside = int(np.count_nonzero((corner["x"] < 0) | (corner["y"] < 0)))
seen = [count(), count(lpz=one), count(lpz=np.nan), count(**corner)]
texts = ("as they are:", "lpz of one row NaN:", "lpz of all rows NaN:", "all moved by half a pixel:")
for text, n in zip(texts, seen):
    print("%-26s %4d rows of %d" % (text, n, N))
print("of the last, %d lie in the outer half of the first pixels; warnings: %d" % (outside, len(told)))
if seen != [N, N - 1, 0, N - outside] or outside == 0 or told:
    raise SystemExit("the behaviour has changed")
PY
