"""What docs/client.md shows runs, and prints what it says."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest
from click.testing import CliRunner
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from angarium_client.cli import main
from deliveries.emit import emit
from deliveries.models import DeadLetter, Delivery, Replay
from deliveries.pipeline import claim, record
from subscriptions.ids import to_uuid
from subscriptions.models import ApiKey, Endpoint
from tests.config.pages import blocks, page, section
from tests.conftest import Configure, MakeEndpoint
from tests.docs.test_explaining import without_ids_and_times
from webhooks.sending.outcome import Outcome, OutcomeKind

PAGE = page("client.md")
UNAVAILABLE = Outcome(
    kind=OutcomeKind.REJECTED, status=503, duration_ms=270, error="answered 503 Service Unavailable"
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("queue")]


@pytest.fixture
def logged_in(
    live_server: LiveServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[str, str]:
    _, key = ApiKey.objects.create_key(name="the reader")
    monkeypatch.setenv("ANGARIUM_URL", live_server.url)
    monkeypatch.setenv("ANGARIUM_KEY", key)
    monkeypatch.chdir(tmp_path)
    return live_server.url, key


@pytest.fixture
def endpoint(make_endpoint: MakeEndpoint, configure: Configure) -> Endpoint:
    """One that has a dead letter, and takes what comes."""
    configure(RETRY_SCHEDULE=[])
    endpoint = make_endpoint("invoice.*", url="https://example.com/hooks")
    end(emit("invoice.paid", {}).pk, UNAVAILABLE)
    return endpoint


def end(event: str, outcome: Outcome) -> Delivery:
    delivery = Delivery.objects.get(event=event)
    [ours] = claim([to_uuid(delivery.pk)])
    record([(ours.lease, outcome)])
    return delivery


def commands(title: str) -> Iterator[list[str]]:
    """What a section's examples call `angarium` with; variables of the shell as they are."""
    for block in blocks(section(PAGE, title), "sh"):
        for line in block.splitlines():
            program, *words = shlex.split(line.split(" | ")[0], comments=True)
            assert program == "angarium"
            yield words


def run(words: list[str], **variables: str) -> str:
    result = CliRunner().invoke(main, [Template(word).substitute(variables) for word in words])
    assert result.exit_code == 0, (words, result.output)
    return result.output


@pytest.mark.parametrize(
    "title", ["Emit and follow", "Dead letters", "Replay", "Endpoints", "For programs"]
)
@pytest.mark.usefixtures("logged_in")
def test_the_commands_run(title: str, endpoint: Endpoint) -> None:
    delivered = end(
        emit("invoice.sent", {}).pk,
        Outcome(kind=OutcomeKind.DELIVERED, status=200, duration_ms=1),
    )
    known = {
        "ENDPOINT": endpoint.pk,
        "SUBSCRIBER": endpoint.subscriber_id,
        "DEAD_LETTER": DeadLetter.objects.get().pk,
        "DELIVERED": delivered.pk,
    }
    for words in commands(title):
        if words[0] == "tail":
            words += ["--count", "0"]
        replay = Replay.objects.first()
        run(words, **known, REPLAY=replay.pk if replay else "")


@pytest.mark.usefixtures("logged_in")
def test_the_output_on_the_page_is_real(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    delivery = Delivery.objects.get()
    by_delivery, by_event = commands("Why was it not delivered?")
    known = {"DELIVERY": delivery.pk, "EVENT": delivery.event_id, "ENDPOINT": endpoint.pk}
    printed = run(by_delivery, **known)
    assert run(by_event, **known) == printed
    [said] = blocks(PAGE, "text")
    assert without_trailing_blanks(printed) == without_trailing_blanks(said)


def without_trailing_blanks(text: str) -> list[str]:
    return [line.rstrip() for line in without_ids_and_times(text).splitlines()]


def test_the_client_does_what_the_page_says(logged_in: tuple[str, str], endpoint: Endpoint) -> None:
    url, key = logged_in
    [program] = blocks(section(PAGE, "From Python"), "python")
    exec(program, {"url": url, "key": key, "endpoint": endpoint.pk})
    assert not DeadLetter.objects.filter(resolution="").exists()
    assert Replay.objects.get().rate == 20
    assert Delivery.objects.filter(event__idempotency_key="paid-42").exists()
    assert Replay.objects.get().created_at <= timezone.now()
