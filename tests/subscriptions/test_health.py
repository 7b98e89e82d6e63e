from datetime import timedelta

import pytest
from django.utils import timezone

from subscriptions.health import note_health, warn
from subscriptions.ids import to_uuid
from subscriptions.models import Endpoint
from tests.conftest import Configure, MakeEndpoint

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def five_days(configure: Configure) -> None:
    configure(DISABLE_AFTER=5 * DAY.total_seconds())


def failing(make_endpoint: MakeEndpoint, days: float, tried: float = 0.0) -> Endpoint:
    """An endpoint that began to fail so many days ago, and was last tried `tried` days ago."""
    now = timezone.now()
    return make_endpoint(failing_since=now - days * DAY, last_failure_at=now - tried * DAY)


def warned(endpoint: Endpoint) -> tuple[str, int]:
    warn(100)
    endpoint.refresh_from_db()
    return endpoint.state, endpoint.failure_warning


@pytest.mark.parametrize(
    ("days", "found"),
    [
        (2.4, ("active", 0)),
        (2.6, ("active", 50)),
        (3.6, ("active", 70)),
        (4.6, ("active", 90)),
        (5.1, ("disabled", 90)),
    ],
)
def test_an_endpoint_that_does_nothing_but_fail_is_warned_of_and_then_disabled(
    make_endpoint: MakeEndpoint, days: float, found: tuple[str, int]
) -> None:
    assert warned(failing(make_endpoint, days)) == found


def test_each_warning_is_given_once(
    make_endpoint: MakeEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = failing(make_endpoint, 2.6)
    assert [warn(100), warn(100)] == [1, 0]
    assert f"{endpoint.pk} has failed since" in caplog.text
    Endpoint.objects.update(failing_since=timezone.now() - 3.6 * DAY)
    assert [warn(100), warn(100)] == [1, 0]


def test_one_that_was_not_tried_lately_is_not_known_to_fail_still(
    make_endpoint: MakeEndpoint,
) -> None:
    assert warned(failing(make_endpoint, days=30, tried=27)) == ("active", 50)
    assert warned(failing(make_endpoint, days=30, tried=29)) == ("active", 0)


def test_a_success_takes_the_warning_back(make_endpoint: MakeEndpoint) -> None:
    endpoint = failing(make_endpoint, 4.6)
    assert warned(endpoint) == ("active", 90)
    note_health(succeeded={to_uuid(endpoint.pk)}, failed=set(), gone=set())
    endpoint.refresh_from_db()
    assert (endpoint.failing_since, endpoint.failure_warning) == (None, 0)


def test_who_is_disabled_is_told_why(make_endpoint: MakeEndpoint) -> None:
    endpoint = failing(make_endpoint, 5.1)
    warn(100)
    endpoint.refresh_from_db()
    assert endpoint.failing_since is not None
    assert endpoint.disabled_reason.startswith(
        f"Every attempt failed from {endpoint.failing_since:%Y-%m-%d %H:%M} to "
    )


@pytest.mark.parametrize("state", ["paused", "unverified", "disabled", "deleted"])
def test_one_that_is_at_rest_is_left_alone(make_endpoint: MakeEndpoint, state: str) -> None:
    endpoint = failing(make_endpoint, 6)
    Endpoint.objects.update(state=state)
    assert warned(endpoint) == (state, 0)


def test_nought_disables_nobody(make_endpoint: MakeEndpoint, configure: Configure) -> None:
    configure(DISABLE_AFTER=0)
    assert warned(failing(make_endpoint, 100)) == ("active", 0)
