#!/usr/bin/env bash
# Library: cellpose 4.2.1.1 (utils.stitch3D, what eval(stitch_threshold=...) does with the masks of single planes).
# Behaviour: until two planes in a row hold objects, stitch3D leaves the labels of each plane as they are, and forgets the
#   highest one as soon as a plane is empty. So single planes with objects, each followed by an empty one, and the first
#   plane of the real cells all count from 1: objects far apart come out under one label, without a warning.
#   Two planes with objects at the top, instead of one, and all is right.
# The guess: each object, or chain of overlapping ones, has a label of its own, whichever planes are empty; a pull
#   request of 2021 was merged to this end (empty first planes and empty planes amid the stack), after an issue about it.
# Why it matters: a stack that begins above the tissue has debris in one plane, then nothing, then the nuclei. A nucleus
#   then shares its label with a speck: counts are too low, and its middle, volume and intensity are of both together;
#   a size filter keeps the speck. Nothing shows it but a check of connected components for each label.
# Seen 2026-11-29 (Python 3.11, numpy 2.4.6; 4 nuclei, and 2 specks where named):
#   specks in plane 0, planes 1-3 empty, nuclei in 4-8: 6 objects apart from one another, 4 labels; labels of more than one object: [1, 2]
#     middle (z, y, x) of label 1: 5.0 18.0 26.0; the nucleus is at 6 20 20
#   specks in planes 0 and 2, nuclei in 4-8: 6 objects apart from one another, 4 labels; labels of more than one object: [1]
#   plane 0 empty, nuclei in 4-8: 4 objects apart from one another, 4 labels; labels of more than one object: []
#   specks in planes 0 and 1, 2-3 empty, nuclei in 4-8: 6 objects apart from one another, 6 labels; labels of more than one object: []
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
pip=("$tmp/venv/bin/pip" install -q --disable-pip-version-check)
"${pip[@]}" torch==2.13.0 numpy==2.4.6 scipy==1.17.1 tqdm==4.70.1 opencv-python-headless==5.0.0.93 fastremap==1.21.0 fill-voids==2.1.2
"${pip[@]}" --no-deps cellpose==4.2.1.1
cd "$tmp"
TQDM_DISABLE=1 "$tmp/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from cellpose import utils
from scipy.ndimage import center_of_mass, label


def stack(planes):
    """Label images of single planes, each numbered from 1: disks of radius 5 at (y, x) of `planes[z]`."""
    z, y, x = np.mgrid[:12, :64, :64]
    masks = np.zeros((12, 64, 64), np.uint16)
    for k, middles in planes.items():
        for n, (i, j) in enumerate(middles, 1):
            masks[k][((y - i) ** 2 + (x - j) ** 2 <= 25)[k]] = n
    return masks


nuclei = {k: [(20, 20), (20, 44), (44, 20), (44, 44)] for k in range(4, 9)}
cases = {
    "specks in plane 0, planes 1-3 empty, nuclei in 4-8": {0: [(8, 56), (56, 8)], **nuclei},
    "specks in planes 0 and 2, nuclei in 4-8": {0: [(8, 56)], 2: [(56, 8)], **nuclei},
    "plane 0 empty, nuclei in 4-8": nuclei,
    "specks in planes 0 and 1, 2-3 empty, nuclei in 4-8": {0: [(8, 56), (56, 8)], 1: [(8, 56), (56, 8)], **nuclei},
}
seen = []
for name, planes in cases.items():
    masks = stack(planes)
    apart = label(masks > 0)[1]
    found = utils.stitch3D(masks.copy(), stitch_threshold=0.25)
    ids = np.unique(found[found > 0])
    split = [int(i) for i in ids if label(found == i)[1] > 1]
    seen.append((apart, len(ids)))
    print("%s: %d objects apart from one another, %d labels; labels of more than one object: %s" % (name, apart, len(ids), split))
    if name.startswith("specks in plane 0,"):
        middle = center_of_mass(found > 0, found, 1)
        print("  middle (z, y, x) of label 1: %.1f %.1f %.1f; the nucleus is at 6 20 20" % middle)
if not (seen[0] == (6, 4) and seen[2][0] == seen[2][1] and seen[3][0] == seen[3][1]):
    raise SystemExit("changed: an empty plane no longer makes labels start anew")
PY
