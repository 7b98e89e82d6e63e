"""`python -m tests.bench.profiled FILE …`: Celery's command line, its worker profiled in FILE."""

import cProfile
import sys
import time
from typing import Any

from celery.__main__ import main
from celery.signals import worker_ready

profile = cProfile.Profile(time.process_time)


@worker_ready.connect
def begin(**_: Any) -> None:
    """What it takes to start is not what a delivery takes."""
    profile.enable()


if __name__ == "__main__":
    path = sys.argv.pop(1)
    try:
        main()
    finally:
        profile.dump_stats(path)
