"""What several test files share: where third-party images are, when they are there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of third-party images; the test is skipped where it is absent."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DEEPSPOT_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no third-party images at {folder}; set DEEPSPOT_SHARED_DATA")
    return folder
