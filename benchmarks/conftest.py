"""Lets tests here import ``benchmarks``; does not change which package they test."""

import sys
from pathlib import Path

# At the end, so that an installed deepspot_scale is found first.
sys.path.append(str(Path(__file__).parents[1]))
