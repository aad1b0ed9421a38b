"""The command ``deepspot-scale``: parses, calls, and prints where the result is.

Every command calls a function of the Python interface. Exit codes: 0 all done, 3 some
fields failed, 2 bad usage, 75 stopped by the queue or lost workers (the same command
continues), 130 stopped by Ctrl-C, 1 any other error.
"""

from __future__ import annotations

import os
import sys

# Importing these modules adds their commands, in the order of --help.
# isort: off
from deepspot_scale.cli import runs, plates, results, models  # noqa: F401 - see above
from deepspot_scale.cli import training, localisation_scores  # noqa: F401 - see above
from deepspot_scale.cli import localisation, segmentation, denoising  # noqa: F401 - see above
from deepspot_scale.cli import rating, comparison  # noqa: F401 - see above

# isort: on
from deepspot_scale.cli.application import app, exit_code_of, say, warnings_aloud
from deepspot_scale.errors import DeepspotError
from deepspot_scale.io.retry import FULL

__all__ = ["app", "main"]


def main() -> None:
    """Run the command; turn our errors into one line and an exit code."""
    # Only for this process and its children.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # The user's own detectors are found in the working directory, as by ``python -m``;
    # it comes last, so that no file there hides an installed package.
    sys.path.append(os.getcwd())
    try:
        with warnings_aloud():
            app()
    except DeepspotError as error:
        say(f"error: {error}")
        sys.exit(exit_code_of(error))
    except OSError as error:
        if error.errno not in FULL:
            raise
        say(f"error: {error}. Make room, then give the same command again")
        sys.exit(1)
