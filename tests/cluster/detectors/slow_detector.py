"""A detector that takes a given time on any machine, for tests that need the time.

``SLOW_SECONDS`` is how long, ``SLOW_LOG`` a folder that gets an empty file at each
start.
"""

import os
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np

import deepspot_scale as ds


def find_bright(image: np.ndarray) -> Any:
    """Return all pixels far above the field's range, slowly."""
    log = os.environ.get("SLOW_LOG")
    if log:
        Path(log, uuid.uuid4().hex).touch()
    time.sleep(float(os.environ.get("SLOW_SECONDS", "0")))
    return np.argwhere(image > 1.05)


detector = ds.PointDetector(find_bright, halo=16, on="raw")
