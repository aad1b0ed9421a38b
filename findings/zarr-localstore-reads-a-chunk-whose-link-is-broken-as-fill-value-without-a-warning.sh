#!/usr/bin/env bash
# Libraries: zarr 3.1.6 (zarr-python), the reader under most OME-Zarr tools, and its LocalStore.
# Behaviour: a chunk file, or a folder of chunks, that is a symbolic link to something that is gone counts as a chunk
#   that was never written: its pixels are the fill value, 0. So does a folder of chunks in whose place a plain file lies.
#   No error and no warning, though the directory entry is there and says that there was a chunk.
# The guess: a link that leads nowhere is an error (FileNotFoundError, as numpy.load gives), since
#   only an entry that is absent means "not stored".
# Why it matters: plates on clusters are assembled of links to scratch or archive storage, which is purged or unmounted.
#   The image is then black there and an analysis goes on with it: no spots, cells cut in two, false edges.
# Seen 2026-11-28 (Python 3.11, numpy 2.4.6), 4 x 4 pixels of 7 in chunks of 2 x 2:
#   chunk c/0/0 a broken link:    sum 84 of 112, warnings 0
#   folder c/1 a broken link:     sum 56 of 112, warnings 0
#   a file in place of c/1:       sum 56 of 112, warnings 0
#   numpy.load of a broken link:  FileNotFoundError
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check zarr==3.1.6 numpy==2.4.6
cd "$tmp"
"$tmp/venv/bin/python" - <<'PY'
import os
import shutil
import warnings

import numpy as np
import zarr


def damaged(name, where, how):
    array = zarr.create_array(name, shape=(4, 4), chunks=(2, 2), dtype="uint16", fill_value=0)
    array[...] = 7
    place = os.path.join(name, where)
    shutil.move(place, name + ".moved")
    if how == "link":
        os.symlink(os.path.abspath("storage-that-is-gone"), place)
    else:
        open(place, "wb").close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pixels = zarr.open_array(name, mode="r")[...]
    return int(pixels.sum()), len(caught)


seen = {
    "chunk c/0/0 a broken link:": damaged("a.zarr", "c/0/0", "link"),
    "folder c/1 a broken link:": damaged("b.zarr", "c/1", "link"),
    "a file in place of c/1:": damaged("c.zarr", "c/1", "file"),
}
for text, (total, said) in seen.items():
    print("%-29s sum %d of 112, warnings %d" % (text, total, said))
os.symlink(os.path.abspath("storage-that-is-gone"), "image.npy")
try:
    np.load("image.npy")
    other = "no error"
except OSError as error:
    other = type(error).__name__
print("%-29s %s" % ("numpy.load of a broken link:", other))
if list(seen.values()) != [(84, 0), (56, 0), (56, 0)] or other != "FileNotFoundError":
    raise SystemExit("the behaviour has changed")
PY
