"""Many deliveries with a past that adds up, made by PostgreSQL itself.

They are spread evenly over the last days: two of each event, to the two endpoints of a subscriber.
Some subscribers have far more than others, some event types too, and one endpoint in fifty fails.
Neither triggers nor foreign keys are asked for each of the rows, which takes a superuser.
"""

from dataclasses import dataclass

from django.db import connection, transaction
from django.utils import timezone

from subscriptions.models import Endpoint, Subscriber

DAYS = 7
CHUNK = 250_000
TYPES = 20
FAILING = 50


@dataclass(frozen=True)
class Density:
    """How much there is beside the deliveries: one of each for so many."""

    subscriber: int = 5_000
    """Deliveries for each subscriber."""
    failing: int = FAILING
    """Endpoints for each that fails, and has dead letters."""
    history: int = 50
    """Deliveries for each entry of the history."""


SPARSE = Density()

# An id as of the moment in the column `ms`, and the same for the same number `of` something.
ID = "(lpad(to_hex(ms), 12, '0') || substr(md5('{what}' || {of}), 1, 20))::uuid"

# A number from 0 to 1, the same for the same number `of` something.
CHANCE = "(('x' || substr(md5('{what}' || {of}), 1, 7))::bit(28)::int / 268435456.0)"

ROWS = f"""
    CREATE TEMPORARY TABLE seeded ON COMMIT DROP AS
    SELECT n, event_n, ms, endpoint_id, type_n, {ID.format(what="event", of="event_n")} AS event_id,
           {ID.format(what="delivery", of="n")} AS id, to_timestamp(ms / 1000.0) AS at,
           CASE WHEN fails AND chance < 0.6 THEN 'dead'
                WHEN fails AND chance < 0.7 THEN 'discarded'
                WHEN fails THEN 'waiting'
                WHEN fresh AND chance < 0.1 THEN 'pending'
                WHEN fresh AND chance < 0.11 THEN 'sending'
                WHEN fresh AND chance < 0.15 THEN 'held'
                ELSE 'delivered' END AS state,
           CASE WHEN fails THEN 3 WHEN chance > 0.9 THEN 2 ELSE 1 END AS tries, chance
      FROM (SELECT n, n / 2 AS event_n,
                   %(begun)s::bigint + (n / 2) * 2 * %(span)s::bigint / %(rows)s AS ms,
                   (%(endpoints)s::uuid[])[owner * 2 + n %% 2 + 1] AS endpoint_id,
                   (owner * 2 + n %% 2) %% %(failing)s = %(failing)s - 1 AS fails,
                   n > %(rows)s * 0.99 AS fresh,
                   floor({TYPES} * {CHANCE.format(what="type", of="(n / 2)")} ^ 3)::int AS type_n,
                   {CHANCE.format(what="state", of="n")} AS chance
              FROM generate_series(%(first)s::bigint, %(last)s::bigint) n,
                   LATERAL (SELECT floor(cardinality(%(endpoints)s::uuid[]) / 2
                            * {CHANCE.format(what="owner", of="(n / 2)")} ^ 3)::int AS owner) whose
           ) made
"""

EVENTS = """
    INSERT INTO deliveries_event (id, type, subscriber_id, payload, occurred_at, created_at,
                                  delivery_count, fanned_out_at)
    SELECT DISTINCT ON (event_n)
           event_id, 'seeded.type_' || type_n, endpoint.subscriber_id,
           '{"invoice": "in_' || event_n || '", "amount": 1200}', at, at, 2, at
      FROM seeded JOIN subscriptions_endpoint endpoint ON endpoint.id = endpoint_id
     ORDER BY event_n
"""

DELIVERIES = """
    INSERT INTO deliveries_delivery (id, event_id, endpoint_id, state, attempt_number, round_start,
                                     created_at, rung_at, next_attempt_at, lease_expires_at,
                                     ended_at)
    SELECT id, event_id, endpoint_id, state,
           CASE state WHEN 'pending' THEN 0 WHEN 'held' THEN 0 ELSE tries END, 0, at,
           CASE state WHEN 'pending' THEN at END,
           CASE state WHEN 'waiting' THEN now() + interval '1 hour' * chance END,
           CASE state WHEN 'sending' THEN now() + interval '30 seconds' END,
           CASE WHEN state IN ('delivered', 'dead', 'discarded')
                THEN at + interval '1 second' * tries * chance END
      FROM seeded ORDER BY id
"""

ATTEMPTS = """
    INSERT INTO deliveries_attempt (delivery_id, number, outcome, status, duration_ms, error,
                                    response_body, ended_at)
    SELECT id, number,
           CASE WHEN state = 'delivered' AND number = tries THEN 'delivered'
                WHEN number = 1 THEN 'rejected' ELSE 'timed_out' END,
           CASE WHEN state = 'delivered' AND number = tries THEN 200
                WHEN number = 1 THEN 503 END,
           10 + 400 * chance ^ 8, '', '', at + interval '1 second' * number * chance
      FROM seeded, generate_series(1, tries) number
     WHERE state NOT IN ('pending', 'held') AND NOT (state = 'sending' AND number = tries)
     ORDER BY id, number
"""

DEAD_LETTERS = f"""
    INSERT INTO deliveries_deadletter (id, delivery_id, endpoint_id, subscriber_id, event_type,
                                       reason, last_error, died_at, resolution, resolved_at)
    SELECT {ID.format(what="letter", of="n")}, seeded.id, endpoint_id, endpoint.subscriber_id,
           'seeded.type_' || type_n, CASE WHEN n %% 10 = 0 THEN 'gone' ELSE 'exhausted' END,
           'answered 503', at, CASE seeded.state WHEN 'dead' THEN '' ELSE 'discarded' END,
           CASE seeded.state WHEN 'dead' THEN NULL ELSE at END
      FROM seeded JOIN subscriptions_endpoint endpoint ON endpoint.id = endpoint_id
     WHERE seeded.state IN ('dead', 'discarded')
"""

HISTORY = f"""
    INSERT INTO subscriptions_historyentry (id, action, kind, object_id, name, endpoint, subscriber,
                                            at)
    SELECT {ID.format(what="history", of="n")}, 'redriven', 'delivery',
           'dlv_' || replace(id::text, '-', ''), '',
           'ep_' || replace(endpoint_id::text, '-', ''), '', at
      FROM seeded WHERE n %% %(history)s = 0
"""


@dataclass(frozen=True)
class Seeded:
    """Who has the most of the deliveries, and who the fewest."""

    busiest: Endpoint
    quietest: Endpoint
    idle: Endpoint
    """Came later, and has got nothing yet."""

    @property
    def all(self) -> list[tuple[str, Endpoint]]:
        return [("a busy", self.busiest), ("a quiet", self.quietest), ("an idle", self.idle)]


def seed(deliveries: int, days: float = DAYS, density: Density = SPARSE) -> Seeded:
    """Make so many deliveries, and all that belongs to them; PostgreSQL has no statistics yet."""
    subscribers = Subscriber.objects.bulk_create(
        Subscriber(name=f"Subscriber {n}")
        for n in range(max(FAILING, deliveries // density.subscriber))
    )
    endpoints = Endpoint.objects.bulk_create(
        Endpoint(subscriber=owner, url=f"https://receiver-{n}.example/{side}")
        for n, owner in enumerate(subscribers)
        for side in ("one", "two")
    )
    now = timezone.now()
    span = int(days * 86_400_000)
    for first in range(0, deliveries, CHUNK):
        values = {
            "first": first,
            "last": min(first + CHUNK, deliveries) - 1,
            "rows": deliveries,
            "begun": int(now.timestamp() * 1000) - span,
            "span": span - 1000,
            "failing": density.failing,
            "history": density.history,
            "endpoints": [one.pk.removeprefix("ep_") for one in endpoints],
        }
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            for statement in (ROWS, EVENTS, DELIVERIES, ATTEMPTS, DEAD_LETTERS, HISTORY):
                cursor.execute(statement, values if "%" in statement else None)
            cursor.execute("DROP TABLE seeded")
            cursor.execute("SET LOCAL session_replication_role = origin")
    newcomer = Subscriber.objects.create(name="A newcomer")
    idle = Endpoint.objects.create(subscriber=newcomer, url="https://newcomer.example/")
    return Seeded(endpoints[0], endpoints[-1], idle)


def vacuum() -> None:
    """As autovacuum does in its time. Not in a transaction."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")
