"""Is the worker, or beat, of this container alive? `python -m deliveries.alive worker`

Exit code 0 if it touched its file within a minute, 1 if it did not. Needs neither Django, nor the
broker, nor the database, so that it is cheap and says nothing but what is asked.
"""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

PATIENCE = 60.0
"""Seconds since the last sign of life: a long sweep may hold a worker up for some of them."""

VARIABLE = "ANGARIUM_HEARTBEAT_DIRECTORY"


def touch(directory: str, kind: str) -> None:
    """Give a sign of life. A directory that is missing or full is no reason to end."""
    with suppress(OSError):
        Path(directory, kind).touch()


def silence(directory: str, kind: str) -> float:
    """How many seconds ago the last sign of life was; infinite, if there was none."""
    try:
        return time.time() - Path(directory, kind).stat().st_mtime
    except OSError:
        return float("inf")


def main(kind: str) -> str | None:
    """What is wrong, if something is."""
    directory = os.environ.get(VARIABLE)
    if not directory:
        return f"Set {VARIABLE} to the directory that the {kind} has it set to."
    seconds = silence(directory, kind)
    return None if seconds < PATIENCE else f"The {kind} gave no sign of life for {seconds:.0f} s."


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
