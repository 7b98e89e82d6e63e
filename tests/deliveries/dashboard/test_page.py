"""The admin's first page: for whom, what it says, and that its links lead to exactly those rows."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from deliveries.dashboard import traffic
from deliveries.dashboard.words import counted, lasted
from deliveries.models import DeadLetter
from tests.conftest import MakeEndpoint, Queue
from tests.deliveries.dashboard.conftest import MakePast

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


def test_each_figure_leads_to_the_rows_that_it_counts(
    admin_client: Client, make_past: MakePast, make_endpoint: MakeEndpoint
) -> None:
    now = timezone.now()
    old = timedelta(hours=3)
    sending = make_past("sending", lease_expires_at=now, ago=old)
    waiting = make_past("waiting", next_attempt_at=now, failed=1)
    dead = make_past("dead", ago=timedelta(minutes=9), failed=2)
    letter = DeadLetter.objects.create(delivery=dead, reason="gone", died_at=now)
    other = make_past("dead", ago=old)
    DeadLetter.objects.create(
        delivery=other, reason="gone", died_at=now, resolution="discarded", resolved_at=now
    )
    delivered = make_past()
    broken = make_endpoint(circuit="open", circuit_opened_at=now, openings=1, probe_at=now)
    led = {name: listed(admin_client, href) for name, (_, href) in figures(admin_client).items()}
    assert led["In flight"] == [sending.pk]
    assert led["Waiting"] == [waiting.pk]
    assert led["Dead letters"] == [letter.pk]
    assert led["Open circuits"] == [broken.pk]
    assert set(led["Deliveries"]) == {waiting.pk, dead.pk, delivered.pk}
    assert led["Success rate"] == [dead.pk]


def test_each_bar_leads_to_as_many_rows_as_it_says(
    admin_client: Client, make_past: MakePast
) -> None:
    for ago in (2, 2, 9):
        make_past("delivered", ago=timedelta(minutes=ago))
    make_past("held", ago=timedelta(minutes=2))
    make_past("pending", ago=timedelta(minutes=2))
    page = admin_client.get(INDEX).content.decode()
    bars = re.findall(
        r'<a href="([^"]*)" tabindex="-1"><rect class="chart-(\w+)"[^>]*><title>[^<]*: (\d+) ', page
    )
    assert sorted((tone, int(count)) for _, tone, count in bars) == [
        ("busy", 2),
        ("good", 1),
        ("good", 2),
    ]
    for href, _, count in bars:
        assert len(listed(admin_client, unescape(href))) == int(count)


def test_the_worst_endpoints_lead_to_their_deliveries_of_the_period(
    admin_client: Client, make_past: MakePast
) -> None:
    failed = make_past("dead", failed=2)
    make_past("dead", failed=1, ago=timedelta(hours=2))
    page = admin_client.get(INDEX)
    (worst,) = page.context["dashboard"]["worst"]
    assert (worst["failed"], worst["rate_said"]) == ("2", "100.0%")
    assert listed(admin_client, worst["href"]) == [failed.pk]


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
