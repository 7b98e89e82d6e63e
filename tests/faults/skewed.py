"""`python -m tests.faults.skewed SECONDS …`: Celery's command line, on a clock that is wrong."""

import sys
import time

import time_machine
from celery.__main__ import main

if __name__ == "__main__":
    offset = float(sys.argv.pop(1))
    time_machine.travel(time.time() + offset, tick=True).start()
    main()
