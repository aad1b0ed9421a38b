#!/usr/bin/env bash
# Library: napari 0.9.2 (viewer of microscope images; here its viewer model, without a window).
# Behaviour: the slider along z runs from the smallest to the largest coordinate of all layers in steps of one plane.
#   One point at z = -0.7, as a sub-pixel fit gives for a spot at the top of a stack, moves its start, and with it
#   every stop: -0.7, 0.3, 1.3 ... The image shows the nearest plane of each stop. So of a stack of 8 planes the first
#   is shown twice and the last never: the 8 stops end at 6.3. A spot in the last plane is not shown at any stop.
# The guess: points are drawn over the image; the slider stops at the planes of the image, all of which can be shown.
# Why it matters: whoever checks detections by scrolling through the stack misses its last plane and all spots in it,
#   and sees nothing amiss: the number of stops is that of the planes. It takes one spot of thousands.
# Seen 2026-11-28 (Python 3.11, numpy 2.4.6):
#   image alone:               planes shown [0, 1, 2, 3, 4, 5, 6, 7]
#   with points at z -0.7, 7:  planes shown [0, 0, 1, 2, 3, 4, 5, 6]   spots shown at each stop [1, 0, 0, 0, 0, 0, 0, 0]
#   with points at z  0.0, 7:  planes shown [0, 1, 2, 3, 4, 5, 6, 7]   spots shown at each stop [1, 0, 0, 0, 0, 0, 0, 1]
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check napari==0.9.2 numpy==2.4.6
cd "$tmp"
HOME="$tmp" "$tmp/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from napari.components import ViewerModel

STACK = np.arange(8, dtype=np.uint16)[:, None, None] * np.ones((1, 16, 16), np.uint16)


def scroll(depths):
    viewer = ViewerModel()
    image = viewer.add_image(STACK)
    points = None
    if depths:
        points = viewer.add_points([[z, 5.0 + 5 * n, 5.0] for n, z in enumerate(depths)], size=1)
    planes, spots = [], []
    for stop in range(viewer.dims.nsteps[0]):
        viewer.dims.set_current_step(0, stop)
        planes.append(int(image._slice.image.view.max()))
        spots.append(0 if points is None else len(points._view_data))
    return planes, spots


alone, _ = scroll([])
print("image alone:               planes shown", alone)
seen = {}
for depths in ([-0.7, 7.0], [0.0, 7.0]):
    seen[depths[0]] = scroll(depths)
    print("with points at z %4.1f, 7:  planes shown %s   spots shown at each stop %s" % (depths[0], *seen[depths[0]]))
before, inside = seen[-0.7], seen[0.0]
if not (alone == inside[0] == list(range(8)) and before[0] == [0, 0, 1, 2, 3, 4, 5, 6]
        and sum(before[1]) == 1 and sum(inside[1]) == 2):
    raise SystemExit("changed: the slider no longer leaves the planes for a point before the first")
PY
