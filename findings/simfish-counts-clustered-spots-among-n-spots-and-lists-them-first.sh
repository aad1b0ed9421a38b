#!/usr/bin/env bash
# Library: sim-fish 0.2.0 (simulates smFISH images with clusters of spots, for the decomposition of dense regions).
# Behaviour: simulate_image(n_spots=N, n_clusters=C, n_spots_cluster=K) draws N spots in all, C x K of them in clusters
#   and N - C x K alone; the ground truth lists those of the clusters first, with nothing that says which they are.
#   With N <= C x K every spot is in a cluster, and further clusters come out smaller or empty, without a warning.
# The guess: N single spots are drawn and C clusters of K are added to them, as three arguments for three numbers say;
#   so the truth has N + C x K rows, and the last C x K rows are the clusters.
# Why it matters: scores of a decomposition are reported for clustered spots apart from single ones. Who takes the last
#   C x K rows scores single spots scattered over the whole image; who adds C x K to N finds a fifth of the molecules
#   "missed" by a perfect method.
# Seen 2026-11-28 (Python 3.11, numpy 2.4.6):
#   n_spots 300, 3 clusters of 20: 300 rows; spread (median distance from their middle, px) of the first 20 rows 3.8, of the last 20 rows 96.2
#   n_spots 40, 3 clusters of 20: 40 rows; spread of each 20 rows 5.0 3.5
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check sim-fish==0.2.0 big-fish==0.6.2 numpy==2.4.6 scipy==1.17.1 scikit-image==0.26.0
cd "$tmp"
"$tmp/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import simfish

np.random.seed(3)


def simulate(n):
    _, truth = simfish.simulate_image(
        ndim=2, n_spots=n, n_clusters=3, n_spots_cluster=20, image_shape=(256, 256),
        voxel_size=(100, 100), sigma=(150, 150))
    return truth


def spread(rows):
    places = rows[:, :2]
    return float(np.median(np.hypot(*(places - np.median(places, 0)).T)))


many, few = simulate(300), simulate(40)
first, last = spread(many[:20]), spread(many[-20:])
print("n_spots 300, 3 clusters of 20: %d rows; spread (median distance from their middle, px) of the first 20 rows %.1f, "
      "of the last 20 rows %.1f" % (len(many), first, last))
parts = [spread(few[k:k + 20]) for k in range(0, len(few), 20)]
print("n_spots 40, 3 clusters of 20: %d rows; spread of each 20 rows" % len(few), *("%.1f" % p for p in parts))
if not (len(many) == 300 and len(few) == 40 and first < 10 < last):
    raise SystemExit("changed: clustered spots are no longer the first rows of n_spots")
PY
