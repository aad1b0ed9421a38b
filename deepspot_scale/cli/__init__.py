"""The command ``deepspot-scale``: parses, calls, prints where the result is.

Every command calls a function that Python users call too. Exit codes: 0 all done,
3 some fields failed, 2 bad usage, 75 stopped by the queue or without workers (the same
command goes on), 130 stopped by Ctrl-C, 1 anything else.
"""

from __future__ import annotations

import os
import sys

# Importing them adds their commands, in the order in which --help lists them.
# isort: off
from deepspot_scale.cli import runs, plates, results, models, training  # noqa: F401 - see above

# isort: on
from deepspot_scale.cli.application import EXIT_RESUBMIT, EXIT_USAGE, app, say
from deepspot_scale.errors import (
    ClusterError,
    DeepspotError,
    PlateError,
    RunError,
    SettingsError,
)
from deepspot_scale.io.retry import FULL

__all__ = ["app", "main"]


def main() -> None:
    """Run the command; turn our errors into one line and an exit code."""
    # Only this process and its children: a user's own TensorFlow stays as it is.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # A detector beside the images is found, as by ``python -m``; last, so that no file
    # there stands before an installed package.
    sys.path.append(os.getcwd())
    try:
        app()
    except (PlateError, RunError, SettingsError) as error:
        say(f"error: {error}")
        sys.exit(EXIT_USAGE)
    except ClusterError as error:
        say(f"error: {error}")
        sys.exit(EXIT_RESUBMIT)
    except DeepspotError as error:
        say(f"error: {error}")
        sys.exit(1)
    except OSError as error:
        if error.errno not in FULL:
            raise
        say(f"error: {error}. Make room, then give the same command again")
        sys.exit(1)
