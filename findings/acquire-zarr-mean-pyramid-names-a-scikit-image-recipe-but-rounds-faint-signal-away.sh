#!/usr/bin/env bash
# Libraries: acquire-zarr 0.10.0 (OME-Zarr writer of microscopes) against scikit-image 0.25.2, the release that its
#   metadata names as the recipe.
# Behaviour: a pyramid written with DownsamplingMethod.MEAN says in its OME metadata how to reproduce it:
#   skimage.transform.downscale_local_mean, factors (2, 2). For integer counts the pixels are something else: every
#   level rounds down, from the level before that was itself rounded down (in stacks once more for z, which the
#   recipe does not name: levels of a stack are halved in z as well). So a level loses 0.37 counts (a plane) or 0.6
#   (a stack), the loss adds up, and faint light is gone: photons at one per pixel leave a black third level.
# The guess: level means stay those of level 0 to a few hundredths of a count, as the named recipe gives even when rounded at each level.
# Why it matters: overviews, thresholds, background and focus are taken from a low level because it is small. Single
#   photons, event maps and 0/1 masks vanish there though full at level 0, and a reader who trusts the
#   recipe in the file computes other numbers than the file holds.
# Seen 2026-11-28 (Python 3.11, numpy 2.4.6, zarr 3.1.6), means of levels 0, 1, 2, 3:
#   the file says: skimage.transform.downscale_local_mean {'cval': '0', 'factors': '(2, 2)'} 0.25.2
#   plane 1 photon/px   acquire-zarr 0.997 0.615 0.181 0.000   recipe 0.997 0.997 0.997 0.997   recipe, rounded to nearest 0.997 0.972 0.970 0.970
#   plane 10 photons/px acquire-zarr 9.990 9.619 9.245 8.857   recipe 9.990 9.990 9.990 9.990   recipe, rounded to nearest 9.990 9.991 9.997 9.998
#   stack 1 photon/px   acquire-zarr 1.002 0.369 0.000 0.000   (shapes (8, 256, 256) (4, 128, 128) (2, 64, 64) (1, 32, 32))
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q --disable-pip-version-check acquire-zarr==0.10.0 zarr==3.1.6 scikit-image==0.25.2 numpy==2.4.6
cd "$tmp"
"$tmp/venv/bin/python" -W ignore - <<'PY'
import acquire_zarr as aqz
import numpy as np
import zarr
from skimage.transform import downscale_local_mean

KINDS = {"t": aqz.DimensionType.TIME}
rng = np.random.default_rng(0)
number = 0


def written(image):
    global number
    number += 1
    path = "p%d.zarr" % number
    names = "tzyx" if image.ndim == 3 else "tyx"
    sizes = (0,) + image.shape
    dims = [aqz.Dimension(name=n, kind=KINDS.get(n, aqz.DimensionType.SPACE), array_size_px=s,
                          chunk_size_px=32 if n in "yx" else 1, shard_size_chunks=1) for n, s in zip(names, sizes)]
    array = aqz.ArraySettings(dimensions=dims, data_type=image.dtype, downsampling_method=aqz.DownsamplingMethod.MEAN)
    stream = aqz.ZarrStream(aqz.StreamSettings(store_path=path, arrays=[array], overwrite=True))
    stream.append(image)
    stream.close()
    group = zarr.open_group(path, mode="r")
    multiscale = group.attrs["ome"]["multiscales"][0]
    return [group[d["path"]][0] for d in multiscale["datasets"]], multiscale["metadata"]


def recipe(image, rounding):
    levels = [image]
    for _ in range(3):
        levels.append(rounding(downscale_local_mean(levels[-1], (2, 2))))
    return levels


def text(levels):
    return " ".join("%.3f" % level.mean() for level in levels)


plane = {n: rng.poisson(n, (256, 256)).astype("uint16") for n in (1, 10)}
stack = rng.poisson(1, (8, 256, 256)).astype("uint16")
seen, how = {}, None
for n, image in plane.items():
    seen[n], how = written(image)
    if n == 1:
        print("the file says:", how["method"], how["kwargs"], how["version"])
    print("plane %-13s acquire-zarr %s   recipe %s   recipe, rounded to nearest %s"
          % ("%d photon%s/px" % (n, "s" * (n > 1)), text(seen[n]), text(recipe(image, lambda a: a)),
             text(recipe(image, np.rint))))
levels, _ = written(stack)
print("stack 1 photon/px   acquire-zarr %s   (shapes %s)" % (text(levels), " ".join(str(a.shape) for a in levels)))
same = (
    how["method"] == "skimage.transform.downscale_local_mean"
    and (seen[1][0] == plane[1]).all()
    and seen[1][3].mean() < 0.05
    and seen[10][3].mean() < seen[10][0].mean() - 0.9
    and levels[2].mean() < 0.01
)
if not same:
    raise SystemExit("changed: the mean pyramid no longer rounds down level by level")
PY
