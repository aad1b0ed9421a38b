#!/usr/bin/env bash
# Libraries: zarr 3.1.6 (zarr-python): open_array and its argument `config`, on labels of an existing OME-Zarr plate.
# Behaviour: zarr.open_array(..., mode="r+", config={"write_empty_chunks": True}) takes the argument for an array that is
#   there already and drops it without a word: the array's own configuration still says False, and a chunk that becomes
#   empty (all 0) is deleted from disk. zarr.create_array with the same `config` keeps it.
# The guess: `config` says how this handle writes, so the chunk of zeros is stored; it is no part of the stored
#   metadata, so nothing in the array could contradict it.
# Why it matters: who segments a plate anew and asks for every chunk to be written, so that a chunk that is absent means
#   a copy that is incomplete, gets labels whose chunks vanish where no cell was found. Both states read the same.
# Seen 2026-11-28 (Python 3.11, numpy 2.4.6), a label image of 4 chunks, all then set to 0:
#   open_array(config=True):    write_empty_chunks False, chunk files 4 -> 0
#   create_array(config=True):  write_empty_chunks True, chunk files 4 -> 4
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check zarr==3.1.6 numpy==2.4.6
cd "$tmp"
"$tmp/venv/bin/python" - <<'PY'
import os
import warnings

import zarr

ASKED = {"write_empty_chunks": True}


def files(name):
    return sum(len(found) for _, _, found in os.walk(name + "/c"))


def make(name, **options):
    return zarr.create_array(name, shape=(4, 4), chunks=(2, 2), dtype="uint32", fill_value=0, **options)


seen = []
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    make("plain.zarr")[...] = 5
    handles = {
        "open_array(config=True):": ("plain.zarr", lambda: zarr.open_array("plain.zarr", mode="r+", config=ASKED)),
        "create_array(config=True):": ("asked.zarr", lambda: make("asked.zarr", config=ASKED)),
    }
    for text, (name, handle) in handles.items():
        labels = handle()
        labels[...] = 5
        before = files(name)
        labels[...] = 0
        keeps = labels.async_array.config.write_empty_chunks
        seen.append((keeps, before, files(name)))
        print("%-27s write_empty_chunks %s, chunk files %d -> %d" % (text, *seen[-1]))
if seen != [(False, 4, 0), (True, 4, 4)] or caught:
    raise SystemExit("the behaviour has changed")
PY
