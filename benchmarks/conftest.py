"""Lets tests here import ``benchmarks``; which deepspot_scale they test stays."""

import sys
from pathlib import Path

# At the end: an installed deepspot_scale goes before the one beside this folder.
sys.path.append(str(Path(__file__).parents[1]))
