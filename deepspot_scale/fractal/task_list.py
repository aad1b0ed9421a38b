"""Fractal's list of our tasks, of which ``fractal-manifest`` makes the manifest.

fractal-manifest create --package deepspot_scale --task-list-path fractal.task_list
"""

from __future__ import annotations

from fractal_task_tools.task_models import ParallelTask

AUTHORS = "The deepspot_scale developers"
DOCS_LINK = None
TASK_LIST = [
    ParallelTask(
        name="Find smFISH spots (DeepSpot)",
        executable="fractal/find_spots.py",
        meta={"cpus_per_task": 2, "mem": 8000},
        category="Measurement",
        modality="HCS",
        tags=["smFISH", "spot detection", "RNA polarity", "deep learning"],
    )
]
