"""A worker as PostgreSQL sees it: `python -m tests.bench.claiming 1 4 0.1` is the second of four.

It claims as many deliveries as a courier does at once, waits as that would for their endpoints,
and records them, until its share of those that are pending is done. It posts nothing and has no
broker. It writes a line when it is ready, begins when it gets one, and writes another in the end.
"""

import gc
import sys
import time

import django

django.setup()

from deliveries.courier.courier import BATCH  # noqa: E402
from deliveries.models import Delivery  # noqa: E402
from deliveries.pipeline import claim, record  # noqa: E402
from subscriptions.ids import to_uuid  # noqa: E402
from webhooks.sending.outcome import Outcome, OutcomeKind  # noqa: E402

DELIVERED = Outcome(OutcomeKind.DELIVERED, 200, duration_ms=100, response_body="ok")


def main(number: int, workers: int, answer_after: float) -> None:
    pending = Delivery.objects.filter(state="pending").order_by("pk").values_list("pk", flat=True)
    mine = [to_uuid(delivery) for delivery in pending][number::workers]
    gc.freeze()
    say("ready")
    sys.stdin.readline()
    for first in range(0, len(mine), BATCH):
        claims = claim(mine[first : first + BATCH])
        time.sleep(answer_after)
        record([(one.lease, DELIVERED) for one in claims])
    say("done")


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
