#!/usr/bin/env bash
# Libraries: cellpose 4.2.1.1 (metrics and utils alone, no weights); stardist 0.9.2 for comparison.
# Behaviour: cellpose counts objects as the number of distinct values less one, also where no pixel is 0. In a field that
#   cells fill (an epithelium, a crop of dense tissue) it counts one true and one found cell too few: average_precision
#   of a perfect segmentation is above 1 with -1 false positives, infinite with two cells, NaN with one; a result with a
#   merged pair still scores above 1. utils.outlines_list and utils.diameters leave out the cell of the lowest label.
#   stardist.matching, on which the docstring says the function is based, counts the same label images right.
# The guess: both take 0 for background and any other value for an object, so a label image against itself scores 1,
#   and an error lowers the score the same way in both.
# Why it matters: scores are averaged over crops or fields, so full fields pull the average up, the smaller the crop the
#   more; numpy warns only where it divides by zero. An export by outlines
#   lacks one cell of each full field.
# Seen 2026-11-29 (Python 3.11, numpy 2.4.6):
#   cells to the edges, against itself: AP@0.5 [tp, fp, fn]
#     48 cells: cellpose 1.043 [48, -1, -1]  stardist 1.000 [48, 0, 0]
#      6 cells: cellpose 1.500 [6, -1, -1]  stardist 1.000 [6, 0, 0]
#      2 cells: cellpose inf [2, -1, -1]  stardist 1.000 [2, 0, 0]
#   48 cells, 1 pair merged in what is found: cellpose 1.022 [47, -1, 0]  stardist 0.979 [47, 0, 1]
#   mean over 64 crops of 64 x 64, 1 pair merged: cellpose 2.158 (without 14 infinite and 2 NaN)  stardist 0.982
#   the 48 cells with one pixel of background: cellpose 1.000
#   outlines 47 and diameters 47 of 48 cells
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
pip=("$tmp/venv/bin/pip" install -q --disable-pip-version-check)
"${pip[@]}" stardist==0.9.2 csbdeep==0.8.2 torch==2.13.0 numpy==2.4.6 scipy==1.17.1 scikit-image==0.26.0 \
  opencv-python-headless==5.0.0.93 fastremap==1.21.0 fill-voids==2.1.2
"${pip[@]}" --no-deps cellpose==4.2.1.1
cd "$tmp"
"$tmp/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from cellpose import metrics, utils
from scipy.spatial import cKDTree
from stardist.matching import matching

rng = np.random.default_rng(1)
grid = np.stack(np.mgrid[:512, :512], -1).reshape(-1, 2)


def tissue(n):
    """Cells that leave no pixel free, as of a membrane stain."""
    return 1 + cKDTree(rng.uniform(0, 512, (n, 2))).query(grid)[1].reshape(512, 512)


def both(true, found):
    ap, tp, fp, fn = (float(v[0]) for v in metrics.average_precision(true, found, [0.5]))
    other = matching(true, found, 0.5)
    return (ap, tp, fp, fn), (other.accuracy, other.tp, other.fp, other.fn)


def show(pair):
    return "  ".join("%s %.3f [%d, %d, %d]" % (name, *v) for name, v in zip(("cellpose", "stardist"), pair))


print("cells to the edges, against itself: AP@0.5 [tp, fp, fn]")
fields = {n: tissue(n) for n in (48, 6, 2)}
own = {n: both(field, field.copy()) for n, field in fields.items()}
for n, pair in own.items():
    print("  %2d cells: %s" % (n, show(pair)))
true = fields[48]
across = true[:, :-1] != true[:, 1:]
edges, lengths = np.unique(np.sort(np.stack([true[:, :-1][across], true[:, 1:][across]], -1), 1), axis=0, return_counts=True)
area = np.bincount(true.ravel())
a, b = next(e for e in edges[np.argsort(-lengths)] if 0.8 < area[e[0]] / area[e[1]] < 1.25)  # alike in size
found = np.where(true == b, a, true)
merged = both(true, found)
print("48 cells, 1 pair merged in what is found: " + show(merged))
crops = [(slice(y, y + 64), slice(x, x + 64)) for y in range(0, 512, 64) for x in range(0, 512, 64)]
pairs = [both(true[c], found[c]) for c in crops]
ours = np.array([p[0][0] for p in pairs])
finite = np.isfinite(ours)
print("mean over %d crops of 64 x 64, 1 pair merged: cellpose %.3f (without %d infinite and %d NaN)  stardist %.3f"
      % (len(crops), ours[finite].mean(), np.isinf(ours).sum(), np.isnan(ours).sum(), np.mean([p[1][0] for p in pairs])))
dotted = true.copy()
dotted[0, 0] = 0
print("the 48 cells with one pixel of background: cellpose %.3f" % both(dotted, dotted.copy())[0][0])
outlines, sizes = len(utils.outlines_list(true, multiprocessing=False)), len(utils.diameters(true)[1])
print("outlines %d and diameters %d of 48 cells" % (outlines, sizes))
if not (own[48][0][0] > 1 and own[48][0][2] == -1 and own[48][1][0] == 1 and merged[0][0] > merged[1][0] and outlines == 47):
    raise SystemExit("changed: a field without background is counted right now")
PY
