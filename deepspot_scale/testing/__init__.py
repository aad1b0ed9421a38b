"""Checks that a method keeps the rules by which blocks give the whole field's answer.

A detector, an engine, a segmenter or rounds of steps comes in; nothing goes out, or a
`ContractError` that says which rule is broken, where, and what to fix. One line in your
own tests is enough:

    check_detector(PointDetector(find_points, halo=24))
"""

from deepspot_scale.testing.detectors import check_detector
from deepspot_scale.testing.engines import check_engine
from deepspot_scale.testing.segmenters import check_segmenter
from deepspot_scale.testing.steps import check_steps

__all__ = ["check_detector", "check_engine", "check_segmenter", "check_steps"]
