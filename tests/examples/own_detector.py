"""A detector of one's own, checked, then run on the workers of a cluster."""

from functools import partial

from skimage.feature import blob_log

import deepspot_scale as ds
from deepspot_scale.cluster.client import open_client
from deepspot_scale.testing import check_detector

find = partial(blob_log, min_sigma=1, max_sigma=2, num_sigma=3, threshold=0.2)
detector = ds.PointDetector(find, halo=16, on="raw")
settings = ds.make_settings(
    channels=["FISH"], enhance=False, detector="own_detector:detector", block=256
)

if __name__ == "__main__":
    check_detector(detector)  # says what to mend, should blocks change the answer
    with open_client(workers=2) as client:  # or open_client("slurm.toml")
        ds.run("PLATE.zarr", "RUN", settings, client=client)
