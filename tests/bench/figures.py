"""The figures, each measured on real processes."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction

from config.celery import app
from deliveries import bell, sweeps
from deliveries.emit import emit
from deliveries.models import Delivery
from subscriptions.ids import to_uuid
from subscriptions.models import Endpoint, SigningSecret, Subscriber, Subscription
from tests.bench import noop, processes, profiling
from tests.bench.processes import Measured, Receiver
from tests.processes import wait_until as wait

Figure = dict[str, float]

# A figure may take a minute's work for one wait.
wait_until = partial(wait, patience=120)

DATA = {
    "id": "in_4242",
    "amount": 1200,
    "currency": "EUR",
    "lines": [{"sku": f"sku-{number}", "quantity": number} for number in range(20)],
}
PLAIN = {"LANE": "plain"}
COURIER = {"LANE": "courier"}
STOCK = ("--pool", "prefork", "--concurrency", "2")


SWEPT_EVERY = 500
"""Events between two sweeps of what is due: more often than beat sweeps."""


class LostOrDoubled(AssertionError):
    """The receiver did not get each message exactly once."""


class Bench:
    """Runs the figures, `rounds` times each, with sizes multiplied by `scale`."""

    def __init__(self, logs: Path, rounds: int, scale: float) -> None:
        self.logs = logs
        self.rounds = rounds
        self.scale = scale
        self.broker = redis.Redis.from_url(settings.REDIS_URL)
        self.receiver: Receiver

    def run(self, wanted: list[str]) -> dict[str, Figure]:
        rounds: dict[str, list[Figure]] = defaultdict(list)
        call_command("migrate", verbosity=0)
        with processes.receiver(self.logs) as self.receiver:
            for _ in range(self.rounds):
                for name, measure in self.figures().items():
                    if not wanted or name in wanted:
                        self.clear()
                        rounds[name].append(measure())
        return {name: median(figures) for name, figures in rounds.items()}

    def profile(self) -> dict[str, float]:
        """Where the courier's time goes: microseconds of CPU for one delivery, by layer.

        The profiler costs time itself, and more in code of many small calls. What it finds is
        therefore scaled to what a delivery costs without it.
        """
        call_command("migrate", verbosity=0)
        statistics = self.logs / "courier.pstats"
        with processes.receiver(self.logs) as self.receiver:
            self.clear()
            plain = self.deliveries(10_000, COURIER)
            self.clear()
            self.deliveries(10_000, {**COURIER, "profile": statistics})
        return {
            layer: share * plain["cpu_us"] for layer, share in profiling.shares(statistics).items()
        }

    def figures(self) -> dict[str, Callable[[], Figure]]:
        return {
            "receiver": self.ceiling,
            "noop": self.noop,
            "plain": lambda: self.deliveries(1_000, PLAIN, *STOCK),
            "courier": lambda: self.deliveries(10_000, COURIER),
            "courier2": lambda: self.deliveries(10_000, COURIER, workers=2),
            "emit": self.emit,
            "latency": self.latency,
            "isolation": self.isolation,
            "mixed": self.mixed,
            "growth": self.growth,
            "backlog": self.backlog,
            "batches": self.batches,
        }

    # What is set up for each

    def clear(self) -> None:
        self.broker.flushall()
        with connection.cursor() as cursor:
            cursor.execute(
                "TRUNCATE deliveries_attempt, deliveries_deadletter, deliveries_delivery,"
                " deliveries_event, subscriptions_subscription, subscriptions_signingsecret,"
                " subscriptions_endpoint, subscriptions_subscriber CASCADE"
            )
        self.receiver.reset()

    def endpoints(
        self, count: int, path: str = "/hook", pattern: str = "bench.*", **columns: Any
    ) -> None:
        owner = Subscriber.objects.create(name="bench")
        for _ in range(count):
            endpoint = Endpoint.objects.create(
                subscriber=owner, url=self.receiver.url + path, **columns
            )
            SigningSecret.objects.issue(endpoint)
            Subscription.objects.create(endpoint=endpoint, pattern=pattern)

    def emitted(self, count: int, event_type: str = "bench.event") -> list[str]:
        """Emit with the bell held still: the messages are rung for when the worker is ready."""
        with transaction.atomic():
            ids = [emit(event_type, DATA).pk for _ in range(count)]
            connection.run_on_commit.clear()
        return ids

    def size(self, count: int) -> int:
        return max(50, int(count * self.scale))

    @contextmanager
    def ready_worker(self, name: str, *options: str, **how: Any) -> Iterator[Measured]:
        with processes.worker(self.logs, name, *options, **how) as measured:
            control = noop.app.control if how.get("app") else app.control
            wait_until(
                lambda: control.ping(destination=[f"{name}@bench"], timeout=0.5),
                f"{name} ({measured.log.read_text()[-2000:]})",
            )
            yield measured

    def begin(self, *names: str, queue: str = "deliveries", control: Any = None) -> None:
        """Have the workers consume; returns when they do, where there is something to consume.

        A worker that is told of a queue may go on waiting at another for up to a second.
        """
        rung = self.broker.llen(queue)
        (control or app.control).add_consumer(
            queue, destination=[f"{name}@bench" for name in names], reply=True
        )
        wait_until(lambda: not rung or self.broker.llen(queue) < rung, "the first message")

    def warm_up(self) -> None:
        """Wait for a delivery, so that those that are measured find all as it usually is."""
        emit("bench.event", DATA)
        wait_until(lambda: not self.unfinished(), "the first delivery")

    # The figures

    def ceiling(self) -> Figure:
        """What the receiver itself can take, from a client that does nothing else."""
        import pycurl

        count = self.size(10_000)
        multi, free = pycurl.CurlMulti(), [pycurl.Curl() for _ in range(50)]
        for handle in free:
            handle.setopt(pycurl.URL, self.receiver.url + "/hook")
            handle.setopt(pycurl.POSTFIELDS, b"x" * 800)
            handle.setopt(pycurl.WRITEFUNCTION, lambda _: None)
        started, sent, done = time.perf_counter(), 0, 0
        while done < count:
            while free and sent < count:
                handle = free.pop()
                handle.setopt(pycurl.HTTPHEADER, [f"webhook-id: m{sent}"])
                multi.add_handle(handle)
                sent += 1
            multi.perform()
            _, succeeded, failed = multi.info_read()
            for handle in [*succeeded, *(one[0] for one in failed)]:
                multi.remove_handle(handle)
                free.append(handle)
                done += 1
            multi.select(0.01)
        return {"rate": count / (time.perf_counter() - started)}

    def noop(self) -> Figure:
        count = self.size(3_000)
        with noop.app.producer_or_acquire() as producer, producer.batch():
            for number in range(count):
                noop.noop.apply_async((f"dlv_{number:032x}",), producer=producer)
        with self.ready_worker("noop", *STOCK, app="tests.bench.noop") as worker:
            cpu = worker.cpu()
            self.begin("noop", queue="noop", control=noop.app.control)
            started = time.perf_counter()
            wait_until(
                lambda: not (self.broker.llen("noop") or self.broker.hlen("unacked")), "noop"
            )
            took = time.perf_counter() - started
            return {"cpu_us": (worker.cpu() - cpu) / count * 1e6, "rate": count / took}

    def deliveries(
        self,
        size: int,
        lane: dict[str, Any],
        *options: str,
        workers: int = 1,
        path: str = "/hook",
    ) -> Figure:
        count = self.size(size)
        self.endpoints(10, path, pattern="bench.none")
        endpoints = list(Endpoint.objects.all())
        self.endpoints(1)
        emitted = self.emitted(count)
        # The same work over several endpoints, one delivery an event.
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE deliveries_delivery SET endpoint_id ="
                " (%s::uuid[])[1 + floor(random() * 10)::int] WHERE state = 'pending'",
                [[to_uuid(one.pk) for one in endpoints]],
            )
        return self.drained(emitted, lane, *options, workers=workers)

    def drained(
        self, emitted: list[str], lane: dict[str, Any], *options: str, workers: int = 1
    ) -> Figure:
        """Ring for all that is pending, and measure until the last of it is recorded."""
        names = [f"courier{number}" for number in range(workers)]
        with ExitStack() as stack:
            measured = [
                stack.enter_context(self.ready_worker(name, *options, **lane)) for name in names
            ]
            self.ring()
            cpu = sum(one.cpu() for one in measured)
            self.begin(*names)
            started = time.perf_counter()
            wait_until(lambda: not self.unfinished(), "the deliveries")
            took = time.perf_counter() - started
            used = sum(one.cpu() for one in measured) - cpu
        self.check_once(emitted)
        return {"cpu_us": used / len(emitted) * 1e6, "rate": len(emitted) / took}

    def ring(self) -> None:
        pending = Delivery.objects.filter(state="pending").values_list("pk", flat=True)
        bell.ring([to_uuid(delivery) for delivery in pending])

    def unfinished(self) -> bool:
        # Each by its index: the bench must not read a million rows over and over.
        return any(
            Delivery.objects.filter(state=state).exists()
            for state in ("pending", "sending", "waiting", "gathering", "batched")
        )

    def check_once(self, emitted: list[str]) -> None:
        received = self.receiver.received()
        doubled = [message for message, times in received.items() if len(times) > 1]
        lost = set(emitted) - set(received)
        if lost or doubled:
            raise LostOrDoubled(f"{len(lost)} lost, {len(doubled)} doubled of {len(emitted)}")

    def emit(self) -> Figure:
        figure: Figure = {}
        for endpoints in (1, 100, 10_000):
            self.clear()
            self.many_endpoints(endpoints)
            times = []
            for _ in range(self.size(200) if endpoints < 10_000 else 50):
                started = time.perf_counter()
                emit("bench.event", DATA)
                times.append((time.perf_counter() - started) * 1000)
            figure[f"{endpoints}_p50_ms"] = statistics.median(times)
            figure[f"{endpoints}_p99_ms"] = percentile(times, 0.99)
        return figure

    def many_endpoints(self, count: int) -> None:
        owner = Subscriber.objects.create(name="bench")
        made = Endpoint.objects.bulk_create(
            Endpoint(subscriber=owner, url=self.receiver.url + "/hook") for _ in range(count)
        )
        Subscription.objects.bulk_create(
            Subscription(endpoint=endpoint, pattern="bench.*") for endpoint in made
        )
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE subscriptions_endpoint, subscriptions_subscription")

    def latency(self) -> Figure:
        """From emit() to the receipt, one at a time, beside a stock task that posts at once."""
        self.endpoints(1)
        figure: Figure = {}
        count = self.size(200)
        with self.ready_worker("courier0", **COURIER):
            self.begin("courier0")
            self.warm_up()
            began = []
            for _ in range(count):
                began.append((time.time(), emit("bench.event", DATA).pk))
                time.sleep(0.02)
            wait_until(lambda: not self.unfinished(), "the deliveries")
        received = self.receiver.received()
        times = [(received[event][0] - start) * 1000 for start, event in began]
        figure["p50_ms"], figure["p99_ms"] = statistics.median(times), percentile(times, 0.99)

        self.receiver.reset()
        with self.ready_worker(
            "stock", *STOCK, app="tests.bench.posting", BENCH_URL=self.receiver.url + "/hook"
        ):
            self.begin("stock", queue="noop", control=noop.app.control)
            sent = []
            for number in range(count):
                sent.append((time.time(), f"stock-{number}"))
                noop.app.send_task("posting", (f"stock-{number}",))
                time.sleep(0.02)
            wait_until(lambda: len(self.receiver.received()) == count, "the stock tasks")
        received = self.receiver.received()
        times = [(received[message][0] - start) * 1000 for start, message in sent]
        figure["stock_p50_ms"] = statistics.median(times)
        figure["stock_p99_ms"] = percentile(times, 0.99)
        return figure

    def isolation(self) -> Figure:
        """Every tenth event goes to an endpoint that takes ten seconds; how the others fare."""
        figure: Figure = {}
        count = self.size(3_000)
        for name, share in (("without", 0), ("with", 10)):
            self.clear()
            self.endpoints(1, "/hook", "bench.event")
            self.endpoints(1, "/slow", "bench.slow")
            with self.ready_worker(
                "courier0", **COURIER, ANGARIUM_ENDPOINT_MAX_IN_FLIGHT="20", ANGARIUM_TIMEOUT="12"
            ):
                self.begin("courier0")
                self.warm_up()
                began = []
                for number in range(count):
                    if number % SWEPT_EVERY == 0:
                        app.send_task("deliveries.sweep_due", queue="deliveries")
                    if share and number % share == 0:
                        emit("bench.slow", DATA)
                    began.append((time.time(), emit("bench.event", DATA).pk))
                ids = [event for _, event in began]
                wait_until(
                    lambda ids=ids: (
                        not Delivery.objects.filter(event_id__in=ids, ended_at=None).exists()
                    ),
                    "the others",
                )
            received = self.receiver.received()
            times = [(received[event][0] - start) * 1000 for start, event in began]
            figure[f"{name}_p50_ms"] = statistics.median(times)
            figure[f"{name}_p99_ms"] = percentile(times, 0.99)
        return figure

    def mixed(self) -> Figure:
        """First attempts, alone and with as many messages among them that carry a countdown."""
        figure: Figure = {}
        for name in ("alone", "among_countdowns"):
            self.clear()
            self.endpoints(1)
            count = self.size(4_000)
            emitted = self.emitted(count)
            with self.ready_worker("courier0", **COURIER):
                pending = [to_uuid(pk) for pk in Delivery.objects.values_list("pk", flat=True)]
                for start in range(0, count, 500):
                    batch = pending[start : start + 500]
                    bell.ring(batch)
                    if name == "among_countdowns":
                        bell.ring_later(dict.fromkeys(batch, 200.0))
                self.begin("courier0")
                started = time.perf_counter()
                wait_until(lambda: not self.unfinished(), "the first attempts")
                figure[f"{name}_rate"] = count / (time.perf_counter() - started)
            self.check_once(emitted)
        return figure

    def growth(self) -> Figure:
        figure = {"empty_rate": self.deliveries(5_000, COURIER)["rate"]}
        self.clear()
        rows = self.size(1_000_000)
        self.endpoints(1, pattern="bench.none")
        with connection.cursor() as cursor:
            # Checking that a million rows refer to rows that are there takes longer than all else.
            cursor.execute("SET session_replication_role = replica")
            cursor.execute(PAST, {"rows": rows})
            cursor.execute("SET session_replication_role = origin")
            cursor.execute(
                "VACUUM ANALYZE deliveries_event, deliveries_delivery, deliveries_attempt"
            )
            cursor.execute("CHECKPOINT")
        figure["grown_rate"] = self.deliveries(5_000, COURIER)["rate"]
        figure["rows"] = rows
        return figure

    def backlog(self) -> Figure:
        """Deliveries parked for a retry: what they cost a worker (nothing) and a sweep."""
        rows = self.size(100_000)
        self.endpoints(1)
        with self.ready_worker("courier0", **COURIER) as worker:
            self.begin("courier0")
            self.warm_up()
            self.swept()
            before = worker.memory()
            with connection.cursor() as cursor:
                cursor.execute(PARKED, {"rows": rows})
                cursor.execute("ANALYZE deliveries_delivery")
            self.swept()
            started = time.perf_counter()
            sweeps.due()
            took = time.perf_counter() - started
            held = worker.memory() - before
        return {"rows": rows, "sweep_ms": took * 1000, "worker_bytes_each": max(0, held) / rows}

    def batches(self) -> Figure:
        """Events to ten endpoints, each by itself and fifty in one request."""
        figure: Figure = {}
        events = self.size(1_000) // 50 * 50
        for size in (1, 50):
            self.clear()
            self.endpoints(10, batch_events=None if size == 1 else size)
            self.emitted(events)
            with self.ready_worker("courier0", **COURIER) as worker:
                cpu = worker.cpu()
                if size == 1:
                    self.ring()
                else:
                    endpoints = Endpoint.objects.values_list("pk", flat=True)
                    bell.ring_for_batches([to_uuid(endpoint) for endpoint in endpoints])
                    self.begin("courier0", queue="housekeeping")
                self.begin("courier0")
                started = time.perf_counter()
                wait_until(lambda: not self.unfinished(), "the deliveries")
                took = time.perf_counter() - started
                used = worker.cpu() - cpu
            requests = sum(len(times) for times in self.receiver.received().values())
            if requests != events * 10 / size:
                raise LostOrDoubled(f"{requests} requests for {events * 10} deliveries")
            figure[f"{size}_rate"] = events * 10 / took
            figure[f"{size}_cpu_us"] = used / (events * 10) * 1e6
            figure[f"{size}_requests_an_event"] = requests / (events * 10)
        return figure

    def swept(self) -> None:
        app.send_task("deliveries.sweep_due", queue="deliveries")
        wait_until(
            lambda: not (self.broker.llen("deliveries") or self.broker.hlen("unacked")), "the sweep"
        )


PAST = """
    WITH event AS (
        INSERT INTO deliveries_event (id, type, payload, occurred_at, created_at, delivery_count,
                                      fanned_out_at)
        SELECT gen_random_uuid(), 'bench.past', '{"past": true}', now(), now(), 1, now()
          FROM generate_series(1, %(rows)s)
     RETURNING id
    ), delivery AS (
        INSERT INTO deliveries_delivery (id, event_id, endpoint_id, state, attempt_number,
                                         round_start, created_at, ended_at)
        SELECT gen_random_uuid(), event.id, (SELECT id FROM subscriptions_endpoint LIMIT 1),
               'delivered', 1, 0, now(), now()
          FROM event
     RETURNING id
    )
    INSERT INTO deliveries_attempt (delivery_id, number, outcome, status, duration_ms, error,
                                    response_body, ended_at)
    SELECT id, 1, 'delivered', 200, 1, '', 'ok', now() FROM delivery
"""

PARKED = """
    WITH event AS (
        INSERT INTO deliveries_event (id, type, payload, occurred_at, created_at, delivery_count,
                                      fanned_out_at)
        SELECT gen_random_uuid(), 'bench.parked', '{}', now(), now(), 1, now()
          FROM generate_series(1, %(rows)s)
     RETURNING id
    )
    INSERT INTO deliveries_delivery (id, event_id, endpoint_id, state, attempt_number, round_start,
                                     created_at, next_attempt_at)
    SELECT gen_random_uuid(), event.id, (SELECT id FROM subscriptions_endpoint LIMIT 1), 'waiting',
           1, 0, now(), now() + interval '1 hour'
      FROM event
"""


def percentile(times: list[float], share: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(figures: list[Figure]) -> Figure:
    return {
        name: round(statistics.median(figure[name] for figure in figures), 3) for name in figures[0]
    }
