#!/usr/bin/env bash
# Library: big-fish 0.6.2 (detection.detect_spots with its automatic threshold), on scipy 1.17.1's gaussian_laplace.
# Behaviour: an image whose pixels are all alike, and bright, has one spot, in its middle. The filter of a flat image is
#   not 0: SciPy cuts the Gaussian's second derivative at four standard deviations, and its weights then do not add up to
#   0. The share of the background that is left (0.00019 of it at a standard deviation of 1.5 px) is above 0, and rounds to
#   whole counts in 16 bits; every pixel is then a local maximum, and the one plateau of them a spot.
# The guess: a Laplacian of Gaussian does not see a constant background, so a flat image has no spot, and a threshold means
#   the same on any background.
# Why it matters: blank fields of bright background (or of 8 bits stretched to 16) are reported with one spot each; and
#   each threshold is passed by so much background as well: 6 counts at a background of 32767.
# Seen 2026-11-29 (Python 3.11, numpy 2.4.6, scikit-image 0.26.0):
#   flat image of     0: 0 spots, filtered 0
#   flat image of   100: 0 spots, filtered 0
#   flat image of 32767: 1 spot at [[31, 39]] of (64, 80), filtered 6, threshold 3.64
#   flat image of 65535: 1 spot at [[31, 39]] of (64, 80), filtered 13, threshold 7.88
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check big-fish==0.6.2 scipy==1.17.1 numpy==2.4.6 scikit-image==0.26.0
cd "$tmp"
"$tmp/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from bigfish.detection import detect_spots
from bigfish.stack import log_filter

numbers = []
for level in (0, 100, 32767, 65535):
    image = np.full((64, 80), level, np.uint16)
    spots, threshold = detect_spots(image, log_kernel_size=1.5, minimum_distance=1.5, return_threshold=True)
    (value,) = np.unique(log_filter(image, 1.5))
    where = f" at {spots.tolist()} of {image.shape}" if len(spots) else ""
    told = "" if threshold is None else f", threshold {threshold:.2f}"
    print(f"flat image of {level:5d}: {len(spots)} spot{'s' * (len(spots) != 1)}{where}, filtered {value}{told}")
    numbers.append(len(spots))
assert numbers == [0, 0, 1, 1]
PY
