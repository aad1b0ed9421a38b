"""A worker reuses the memory of one field for the next."""

import os
import subprocess
import sys

import pytest

PLAIN = {
    "MALLOC_TRIM_THRESHOLD_": "65536",  # as Dask has it
    "NUMPY_MADVISE_HUGEPAGE": "0",  # or there is little to count
}
FAULTS = """
import resource
import numpy as np
from deepspot_scale.cluster import worker

if {keep}:
    worker._keep_memory()

def use():
    np.ones((2048, 2048), np.float32)

use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_memory_of_one_field_is_used_for_the_next():
    def count_faults(keep):
        done = subprocess.run(
            [sys.executable, "-c", FAULTS.format(keep=keep)],
            env=os.environ | PLAIN,
            capture_output=True,
            check=True,
        )
        return int(done.stdout)

    fetched, kept = count_faults(False), count_faults(True)
    if fetched < 100:
        pytest.skip("this system's library keeps memory by itself")
    assert kept < fetched / 10
