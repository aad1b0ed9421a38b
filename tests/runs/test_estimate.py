"""What a run will need, by numbers that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deepspot_scale.blockwise.geometry import plan_blocks
from deepspot_scale.runs.estimate import REST_SECONDS_PER_PIXEL, Plan, plan_run

PIXELS = 2048 * 2048


def _plan(fields: int = 360, rate: float | None = 4e6) -> Plan:
    blocks = plan_blocks((2048, 2048), block=2048, halo=0)
    return plan_run(blocks, halo=0, n_fields=fields, n_planes=2, pixels_per_second=rate)


def test_the_time_is_that_of_the_network_and_of_the_rest() -> None:
    pixels = 360 * 2 * PIXELS
    seconds = pixels / 4e6 + pixels * REST_SECONDS_PER_PIXEL
    assert _plan().seconds == pytest.approx(seconds)


def test_workers_share_the_fields_and_no_field_is_cut() -> None:
    plan = replace(_plan(), seconds=36_000.0)
    assert plan.describe_time() == "about 10.0 hours on this machine"
    assert plan.describe_time(8).endswith(", 75.0 minutes on 8 workers like it")
    assert (
        replace(plan, n_fields=2)
        .describe_time(8)
        .endswith("5.0 hours on 8 workers like it")
    )


def test_without_a_rate_no_time_is_told() -> None:
    assert _plan(rate=None).describe_time(4) == ""
