"""A portal with something to see: a catalogue, endpoints well and ill, deliveries of every fate."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from deliveries import replays
from deliveries.emit import emit
from deliveries.models import Attempt, DeadLetter, Delivery, Replay
from subscriptions.models import Endpoint, EventType, SigningSecret, Subscriber, Subscription
from subscriptions.portal_access import sign_link

if TYPE_CHECKING:
    from playwright.sync_api import Page

CATALOGUE = {
    "invoice.paid": (
        "Billing",
        "An invoice is paid.",
        {"invoice": "in_42", "amount": 1200},
    ),
    "invoice.overdue": ("Billing", "An invoice is past its date.", {"invoice": "in_43"}),
    "carpet.woven": ("Workshop", "A carpet leaves the loom.", {"carpet": "kashan-7", "knots": 640}),
    "carpet.sold": ("Workshop", "A carpet has a new owner.", None),
}


@dataclass
class Portal:
    """Who it is for, and where."""

    server: str
    subscriber: Subscriber

    @property
    def link(self) -> str:
        return f"{self.server}/portal/enter/?link={sign_link(self.subscriber)}"

    def enter(self, page: "Page") -> None:
        page.goto(self.link)
        page.get_by_role("button", name="Come in").click()
        page.wait_for_url(self.url("endpoints/"))

    def url(self, path: str) -> str:
        return f"{self.server}/portal/{path}"


def fill_catalogue() -> None:
    for name, (group, description, example) in CATALOGUE.items():
        schema = example and {
            "type": "object",
            "properties": {
                key: {"type": "string" if isinstance(value, str) else "integer"}
                for key, value in example.items()
            },
            "required": list(example),
        }
        EventType.objects.create(
            name=name, group=group, description=description, example=example, schema=schema
        )


def add_endpoint(subscriber: Subscriber, url: str, *patterns: str, **fields: Any) -> Endpoint:
    endpoint = Endpoint.objects.create(subscriber=subscriber, url=url, **fields)
    SigningSecret.objects.issue(endpoint)
    for pattern in patterns:
        Subscription.objects.create(endpoint=endpoint, pattern=pattern)
    return endpoint


def furnish(subscriber: Subscriber) -> None:
    """Endpoints and deliveries of every fate."""
    now = timezone.now()
    well = add_endpoint(
        subscriber,
        "https://hooks.isfahan-carpets.example/webhooks",
        "invoice.*",
        description="The books",
        last_success_at=now - timedelta(minutes=2),
    )
    ill = add_endpoint(
        subscriber,
        "https://loom.isfahan-carpets.example/events/incoming",
        "carpet.*",
        failing_since=now - timedelta(hours=3),
        last_failure_at=now - timedelta(minutes=4),
    )
    Subscription.objects.create(
        endpoint=well, pattern="carpet.sold", channels=["eu"], filter="price > `1000`"
    )
    add_endpoint(subscriber, "https://old.isfahan-carpets.example/", "*", state="paused")
    for number in range(6):
        event = emit("invoice.paid", {"invoice": f"in_{number}", "amount": 1200 + number})
        fate(event.deliveries.get(endpoint=well), "delivered", (200, "delivered"))
    event = emit("carpet.woven", {"carpet": "kashan-7", "knots": 640})
    fate(event.deliveries.get(endpoint=ill), "waiting", (503, "rejected"), (None, "timed_out"))
    for knots in (500, 700):
        event = emit("carpet.woven", {"carpet": "tabriz-2", "knots": knots})
        fate(event.deliveries.get(endpoint=ill), "dead", *[(500, "rejected")] * 3)
    replays.start(Replay(endpoint=ill, states=["dead"], until=now))


def fate(delivery: Delivery, state: str, *attempts: tuple[int | None, str]) -> Delivery:
    """Give a delivery a past, of a tenth of a second for each attempt."""
    ends = [delivery.created_at + timedelta(seconds=n / 10) for n, _ in enumerate(attempts, 1)]
    now = ends[-1]
    Delivery.objects.filter(pk=delivery.pk).update(state="sending", lease_expires_at=now)
    delivery.state, delivery.attempt_number = state, len(attempts)
    delivery.ended_at = now if state in ("delivered", "dead") else None
    delivery.next_attempt_at = now + timedelta(minutes=25) if state == "waiting" else None
    delivery.save()
    for number, (status, outcome) in enumerate(attempts, 1):
        ok = outcome == "delivered"
        Attempt.objects.create(
            delivery=delivery,
            number=number,
            outcome=outcome,
            status=status,
            duration_ms=83,
            error="" if ok else f"answered {status}" if status else "no response in time",
            response_body=json.dumps({"ok": ok, "detail": "the loom is being repaired"}),
            response_headers="" if ok or not status else "Server: loom/7\nRetry-After: 60",
            ended_at=ends[number - 1],
        )
    if state == "dead":
        DeadLetter.objects.create(
            delivery=delivery, reason="exhausted", last_error="answered 500", died_at=now
        )
    return delivery
