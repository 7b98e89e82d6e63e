"""The admin's first page: for whom, what it says, and that its links lead to what it counts."""

import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from itertools import chain
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from deliveries import bell
from deliveries.dashboard import traffic
from deliveries.dashboard.words import counted, lasted
from deliveries.models import Attempt, DeadLetter, Delivery, QueueSample
from subscriptions.ids import to_uuid
from subscriptions.models import Endpoint
from tests.conftest import MakeEndpoint, Queue
from tests.deliveries.dashboard.conftest import MakePast, id_at

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("queue")]

INDEX = reverse("admin:index")


def figures(client: Client, **query: str) -> dict[str, tuple[str, str]]:
    """Each figure's value, and where it leads."""
    page = client.get(INDEX, query).content.decode()
    found = re.findall(
        r'<a href="([^"]*)"[^>]*>\s*<span class="figure-name">([^<]*)</span>\s*<strong>([^<]*)<',
        page,
    )
    return {name: (value, unescape(href)) for href, name, value in found}


def listed(client: Client, href: str) -> list[str]:
    return [row.pk for row in client.get(href).context["cl"].result_list]


@pytest.fixture
def staff(client: Client) -> User:
    user = User.objects.create_user("clerk", is_staff=True)
    client.force_login(user)
    return user


def test_whoever_may_not_see_deliveries_has_a_plain_index(client: Client, staff: User) -> None:
    page = client.get(INDEX)
    assert "dashboard" not in page.context
    assert b"figure-name" not in page.content


def test_whoever_may_see_deliveries_has_the_dashboard(client: Client, staff: User) -> None:
    staff.user_permissions.add(Permission.objects.get(codename="view_delivery"))
    assert "Deliveries" in figures(client)


def test_the_figures_tell_how_it_is_now(
    admin_client: Client, make_past: MakePast, make_endpoint: MakeEndpoint, queue: Queue
) -> None:
    now = timezone.now()
    make_past("sending", lease_expires_at=now)
    make_past("waiting", failed=1, next_attempt_at=now - timedelta(minutes=7))
    died = now - timedelta(hours=5, minutes=5)
    DeadLetter.objects.create(delivery=make_past("dead"), reason="gone", died_at=died)
    make_endpoint(circuit="open", circuit_opened_at=now, openings=1, probe_at=now)
    found = {name: value for name, (value, _) in figures(admin_client).items()}
    assert found["Queue depth"] == "0"
    assert found["In flight"] == "1"
    assert found["Waiting"] == "1"
    assert found["Oldest overdue"] == "7 min"
    assert found["Dead letters"] == "1"
    assert found["Open circuits"] == "1"
    assert "the oldest died 5\xa0hours" in admin_client.get(INDEX).content.decode()


def within(minute: int) -> timedelta:
    """How long ago the middle of a minute was, so many minutes before this one."""
    now = timezone.now()
    return now - now.replace(second=30, microsecond=0) + timedelta(minutes=minute)


def drawn(client: Client, chart: str) -> list[tuple[str, str]]:
    """What each bar or column of a chart says, after its time, and where it leads."""
    page = client.get(INDEX).content.decode()
    svg = page.partition(f'<svg id="chart-{chart}-drawing"')[2].partition("</svg>")[0]
    found = re.findall(r'<a href="([^"]*)" tabindex="-1"><rect [^>]*><title>.*?: ([^<]*)<', svg)
    return [(said, unescape(href)) for href, said in found]


@dataclass(frozen=True)
class Happened:
    """An hour in which there was something of everything."""

    pending: str
    sending: str
    overdue: str
    to_come: str
    letter: str
    broken: str
    delivered: set[str]
    dead: set[str]
    made: set[str]


@pytest.fixture
def happened(make_past: MakePast, make_endpoint: MakeEndpoint) -> Happened:
    now = timezone.now()
    five, nine, twelve = (within(minute) for minute in (5, 9, 12))
    fast = [make_past(ago=five, after=2, failed=failed) for failed in (0, 1)]
    slow = make_past(ago=nine, after=30, duration_ms=400)
    dead = make_past("dead", ago=nine, failed=2, duration_ms=400)
    discarded = make_past("discarded", ago=nine)
    pending = make_past("pending", ago=twelve, rung_at=now - timedelta(minutes=12))
    held = make_past("held", ago=twelve)
    sending = make_past("sending", ago=twelve, lease_expires_at=now)
    overdue, to_come = (
        make_past("waiting", ago=twelve, failed=1, next_attempt_at=now + timedelta(minutes=wait))
        for wait in (-7, 7)
    )
    bury(dead, five)
    bury(discarded, nine, resolution="discarded", resolved_at=now)
    # Before the hour, and so in no chart.
    bury(make_past("delivered", ago=within(70)), within(69), resolution="redriven", resolved_at=now)
    QueueSample.objects.create(
        minute=(now - five).replace(second=0), messages=40, pending=20, overdue=90
    )
    make_endpoint(state="deleted", circuit="open", circuit_opened_at=now, openings=1, probe_at=now)
    bell.ring([to_uuid(pending.pk)])
    made = [*fast, slow, dead, discarded, pending, held, sending, overdue, to_come]
    return Happened(
        pending=pending.pk,
        sending=sending.pk,
        overdue=overdue.pk,
        to_come=to_come.pk,
        letter=DeadLetter.objects.get(resolution="").pk,
        broken=make_endpoint(circuit="open", circuit_opened_at=now, openings=1, probe_at=now).pk,
        delivered={one.pk for one in [*fast, slow]},
        dead={dead.pk},
        made={one.pk for one in made},
    )


def bury(delivery: Delivery, ago: timedelta, **resolved: Any) -> None:
    letter = DeadLetter(delivery=delivery, reason="gone", died_at=timezone.now() - ago, **resolved)
    letter.pk = id_at("dead", letter.died_at, letter.pk)
    letter.save(force_insert=True)


def test_each_figure_says_what_the_list_has_that_it_leads_to(
    admin_client: Client, happened: Happened
) -> None:
    found = figures(admin_client)
    told = {name: (value, set(listed(admin_client, href))) for name, (value, href) in found.items()}
    assert told == {
        "Queue depth": ("1", {happened.pending}),
        "In flight": ("1", {happened.sending}),
        "Waiting": ("2", {happened.overdue, happened.to_come}),
        "Oldest overdue": ("12 min", {happened.pending, happened.overdue}),
        "Dead letters": ("1", {happened.letter}),
        "Open circuits": ("1", {happened.broken}),
        "Deliveries": ("10", happened.made),
        "Success rate": ("75.00%", happened.delivered | happened.dead),
        "Median attempt": (median(of_attempts(happened.made)), happened.made),
        "Median from emit to delivery": ("2.0 s", happened.delivered),
    }
    oldest, *_ = listed(admin_client, found["Oldest overdue"][1])
    assert oldest == happened.pending
    assert "the list has the 1 pending" in admin_client.get(INDEX).content.decode()


def of_attempts(deliveries: Iterable[str]) -> list[int]:
    attempts = Attempt.objects.filter(delivery__in=deliveries)
    return list(attempts.values_list("duration_ms", flat=True))


def median(milliseconds: Iterable[float]) -> str:
    return lasted(statistics.median(milliseconds))


@pytest.mark.parametrize(
    ("chart", "expected"),
    [
        (
            "outcomes",
            [
                *("2 waiting for another try", "3 on its way"),
                *("1 delivered", "1 dead", "1 discarded"),
                "2 delivered",
            ],
        ),
        ("dead-letters", ["1 resolved", "1 open"]),
        ("worst", ["2 waiting for another try", "1 dead"]),
    ],
)
def test_each_bar_leads_to_as_many_rows_as_it_says(
    admin_client: Client, happened: Happened, chart: str, expected: list[str]
) -> None:
    bars = drawn(admin_client, chart)
    assert [said for said, _ in bars] == expected
    for said, href in bars:
        assert len(listed(admin_client, href)) == int(said.partition(" ")[0])


def test_each_column_of_the_success_rate_leads_to_what_it_is_the_rate_of(
    admin_client: Client, happened: Happened
) -> None:
    columns = drawn(admin_client, "success")
    assert [said for said, _ in columns] == ["delivered 50%", "delivered 100%"]
    for said, href in columns:
        rows = set(listed(admin_client, href))
        assert rows <= happened.delivered | happened.dead
        share = len(rows & happened.delivered) / len(rows)
        assert said == f"delivered {share:.0%}"


def test_each_column_of_the_latencies_leads_to_the_deliveries_that_took_so_long(
    admin_client: Client, happened: Happened
) -> None:
    attempts = drawn(admin_client, "attempts")
    assert len(attempts) == 3
    for said, href in attempts:
        assert said.startswith(f"p50 {median(of_attempts(listed(admin_client, href)))}, p95 ")
    arrivals = drawn(admin_client, "arrivals")
    assert [said.split(",")[0] for said, _ in arrivals] == ["p50 30 s", "p50 2.0 s"]
    rows = [listed(admin_client, href) for _, href in arrivals]
    assert [len(found) for found in rows] == [1, 2]
    assert set(chain(*rows)) == happened.delivered


@pytest.mark.parametrize(
    ("chart", "expected"), [("depth", "messages 40, pending 20"), ("overdue", "overdue 90 s")]
)
def test_what_was_seen_of_the_queue_leads_to_the_deliveries_that_were_made_then(
    admin_client: Client, happened: Happened, chart: str, expected: str
) -> None:
    [(said, href)] = drawn(admin_client, chart)
    assert said == expected
    made = drawn(admin_client, "outcomes")[-1]
    assert listed(admin_client, href) == listed(admin_client, made[1])


def test_the_worst_endpoints_lead_to_their_own_pages(
    admin_client: Client, make_past: MakePast, endpoint: Endpoint
) -> None:
    make_past("dead", failed=2)
    make_past("dead", failed=1, ago=timedelta(hours=2))
    (worst,) = admin_client.get(INDEX).context["dashboard"]["worst"]
    assert (worst["failed"], worst["rate_said"]) == ("2", "100.0%")
    assert admin_client.get(worst["href"]).context["original"] == endpoint


def test_another_period_is_a_link_away(admin_client: Client, make_past: MakePast) -> None:
    make_past(ago=timedelta(hours=3))
    assert figures(admin_client)["Deliveries"][0] == "0"
    page = admin_client.get(INDEX).content.decode()
    assert f'<a href="{INDEX}?period=day">Last 24 hours</a>' in page
    assert figures(admin_client, period="day")["Deliveries"][0] == "1"


def test_where_the_numbers_are_estimates_the_page_says_so(
    admin_client: Client, make_past: MakePast, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_past()
    assert "estimates" not in admin_client.get(INDEX).content.decode()
    monkeypatch.setattr(traffic, "READ", 0)
    assert "estimates" in admin_client.get(INDEX).content.decode()


def test_the_page_looks_again_by_itself_unless_it_is_paused(admin_client: Client) -> None:
    page = admin_client.get(INDEX, {"period": "day"}).content.decode()
    assert f'hx-get="{INDEX}?period=day"' in page
    paused = admin_client.get(INDEX, {"period": "day", "paused": "1"}).content.decode()
    assert f'hx-get="{INDEX}?' not in paused
    assert f'<a href="{INDEX}?period=day">Go on</a>' in paused


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [
        (0.4, "0 ms"),
        (999, "999 ms"),
        (1_500, "1.5 s"),
        (90_000, "90 s"),
        (420_000, "7 min"),
        (9e6, "2 h"),
    ],
)
def test_times_are_said_in_a_unit_of_their_size(milliseconds: float, said: str) -> None:
    assert lasted(milliseconds) == said


def test_counts_are_said_in_full_up_to_a_million() -> None:
    assert [counted(number) for number in (0, 9_999, 4_990_000)] == ["0", "9,999", "5.0 million"]
