"""What docs/explaining.md shows is what the command prints."""

import io
import re
from time import sleep

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from deliveries.emit import emit
from deliveries.explaining.rules import Rule
from deliveries.models import Delivery
from deliveries.pipeline import claim, record
from subscriptions.ids import to_uuid
from tests.config.pages import blocks, page, section, table
from tests.conftest import Configure, MakeEndpoint, Queue
from webhooks.sending.outcome import Outcome, OutcomeKind, Timings

PAGE = page("explaining.md")
UNAVAILABLE = Outcome(
    kind=OutcomeKind.REJECTED,
    status=503,
    duration_ms=270,
    error="answered 503 Service Unavailable",
    timings=Timings(dns=4, connect=21, tls=44, first_byte=199),
)
SILENT = Outcome(kind=OutcomeKind.TIMED_OUT, duration_ms=280, error="no response in time")


def without_ids_and_times(text: str) -> str:
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "Y-m-d H:i:s", text)
    text = re.sub(r"(?<=H:i:s\.)\d{3}", "...", text)
    return re.sub(r"(?<=[a-z]_)[0-9a-f]{32}", "0" * 32, text)


@pytest.mark.django_db(transaction=True)
def test_the_output_on_the_page_is_real(
    make_endpoint: MakeEndpoint,
    queue: Queue,
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each attempt is due at once.
    configure(RETRY_SCHEDULE=[0.0] * 9)
    endpoint = make_endpoint("invoice.*", "order.*", url="https://example.com/hooks")
    delivery = Delivery.objects.get(event=emit("invoice.paid", {}))

    def attempt(outcome: Outcome) -> None:
        [ours] = claim([to_uuid(delivery.pk)])
        sleep(0.3)  # as long as the outcome says, and a little
        record([(ours.lease, outcome)])

    for outcome in (UNAVAILABLE, SILENT):
        attempt(outcome)
    client = Client()
    client.force_login(User.objects.create_superuser("jamshid", last_login=timezone.now()))
    listed = reverse("admin:subscriptions_endpoint_changelist")
    client.post(listed, {"action": "pause", "_selected_action": [endpoint.pk], "confirmed": "yes"})
    assert claim([to_uuid(delivery.pk)]) == []
    monkeypatch.setenv("COLUMNS", "100")
    out = io.StringIO()
    call_command("explain", delivery.pk, no_color=True, stdout=out)
    [said] = blocks(PAGE, "text")
    assert without_ids_and_times(out.getvalue()) == without_ids_and_times(said)


def test_every_rule_is_on_the_page() -> None:
    assert [row[0] for row in table(section(PAGE, "Whether it matched"))] == list(Rule)
