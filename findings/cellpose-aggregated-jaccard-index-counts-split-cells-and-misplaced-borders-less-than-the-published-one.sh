#!/usr/bin/env bash
# Library: cellpose 4.2.1.1 (metrics.aggregated_jaccard_index), against the definition of Kumar et al. 2017 written out.
# Behaviour: cellpose divides the pixels that matched pairs share by the pixels that are foreground in either image, each
#   counted once. The published AJI adds up the union of every pair and the area of every found object that is in none,
#   so a pixel given to the wrong neighbour, or to a leftover half, counts twice. Cells split in two come out 0.17 higher
#   in cellpose, borders between touching cells at the wrong place 0.13 higher; cells apart and whole, nearly the same.
# The guess: one name, one measure: the same number as by the definition, up to rounding, whatever the cells are like.
# Why it matters: AJI is chosen for dense tissue because it punishes merged and split cells, and tables set cellpose's
#   number beside those of other tools and papers. A lead of 0.13 to 0.17 may then be one of the formula alone, and it
#   comes and goes with the density of the tissue and with the kind of error.
# Seen 2026-11-29 (Python 3.11, numpy 2.4.6; 256 cells):
#   cells touching      against itself       cellpose 1.000  definition 1.000
#   cells touching      middles off by 6 px  cellpose 0.799  definition 0.665
#   cells touching      split in columns     cellpose 0.529  definition 0.360
#   cells mostly apart  against itself       cellpose 1.000  definition 1.000
#   cells mostly apart  middles off by 6 px  cellpose 0.486  definition 0.479
#   cells mostly apart  split in columns     cellpose 0.655  definition 0.487
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
pip=("$tmp/venv/bin/pip" install -q --disable-pip-version-check)
"${pip[@]}" torch==2.13.0 numpy==2.4.6 scipy==1.17.1 tqdm==4.70.1 opencv-python-headless==5.0.0.93 fastremap==1.21.0 fill-voids==2.1.2
"${pip[@]}" --no-deps cellpose==4.2.1.1
cd "$tmp"
"$tmp/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from cellpose import metrics
from scipy.spatial import cKDTree


def published(true, found):
    """Each true object takes the found one of highest IoU; shared pixels over unions, and found objects left over."""
    shared = np.zeros((true.max() + 1, found.max() + 1), int)
    np.add.at(shared, (true.ravel(), found.ravel()), 1)
    areas = shared.sum(0)
    union = (shared.sum(1)[:, None] + areas - shared)[1:, 1:]
    shared = shared[1:, 1:]
    best = (shared / union).argmax(1)
    rows = np.arange(len(best))
    met = shared[rows, best] > 0
    alone = true.size - (true == 0).sum() - np.isin(true, rows[met] + 1).sum()
    left = np.setdiff1d(np.arange(len(areas) - 1), best[met])
    return shared[rows, best][met].sum() / (union[rows, best][met].sum() + alone + areas[1:][left].sum())


rng = np.random.default_rng(0)
grid = np.stack(np.mgrid[:512, :512], -1).reshape(-1, 2)
x = grid[:, 1].reshape(512, 512)


def cells(middles, radius):
    far, nearest = cKDTree(middles).query(grid)
    return np.where(far <= radius, nearest + 1, 0).reshape(512, 512)


middles = np.array([(i, j) for i in range(16, 512, 32) for j in range(16, 512, 32)]) + rng.uniform(-6, 6, (256, 2))
off = rng.normal(0, 6, (256, 2))
seen = {}
for name, radius in (("touching", 99), ("mostly apart", 12)):
    true = cells(middles, radius)
    halves = np.where(true > 0, 2 * true - (x % 32 < 16), 0)
    for kind, found in (("against itself", true.copy()), ("middles off by 6 px", cells(middles + off, radius)),
                        ("split in columns", np.unique(halves, return_inverse=True)[1].reshape(true.shape))):
        ours, theirs = float(metrics.aggregated_jaccard_index([true], [found])[0]), float(published(true, found))
        seen[name, kind] = ours, theirs
        print("cells %-12s  %-20s cellpose %.3f  definition %.3f" % (name, kind, ours, theirs))
exact = all(a == b == 1 for (_, kind), (a, b) in seen.items() if kind == "against itself")
more = [a - b for (name, kind), (a, b) in seen.items() if name == "touching" and kind != "against itself"]
if not (exact and min(more) > 0.05):
    raise SystemExit("changed: cellpose's AJI is the published one now")
PY
