from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from subscriptions.ids import from_uuid, lowest_uuid_at, moment_of, new_id, to_uuid
from subscriptions.models import Subscriber


def test_ids_sort_by_the_time_they_were_made() -> None:
    made = [new_id("evt") for _ in range(1000)]
    assert made == sorted(made)
    assert len(set(made)) == 1000


def test_an_id_is_a_version_7_uuid_behind_its_prefix() -> None:
    stored = to_uuid(new_id("evt"))
    assert stored.version == 7
    assert from_uuid("evt", stored) == f"evt_{stored.hex}"


@pytest.mark.parametrize(
    "value", ["", "evt", "evt_", "evt_123", "0123456789abcdef" * 2, "evt_" + "g" * 32]
)
def test_what_is_no_id_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="is not an id"):
        to_uuid(value)


def test_the_bound_of_a_moment_lies_below_what_is_made_from_then_on() -> None:
    now = datetime.now(UTC)
    assert lowest_uuid_at(now - timedelta(seconds=1)) < to_uuid(new_id("evt"))
    assert lowest_uuid_at(now + timedelta(seconds=1)) > to_uuid(new_id("evt"))


def test_an_id_tells_when_it_was_made() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    assert before <= moment_of(to_uuid(new_id("evt"))) <= datetime.now(UTC)


@pytest.mark.django_db
def test_the_database_holds_the_bare_uuid_and_python_sees_the_prefix() -> None:
    subscriber = Subscriber.objects.create(name="Cyrus")
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM subscriptions_subscriber")
        [(stored,)] = cursor.fetchall()
    assert stored == to_uuid(subscriber.pk)
    assert Subscriber.objects.get(pk=subscriber.pk).pk == subscriber.pk
    assert subscriber.pk.startswith("sub_")


@pytest.mark.django_db
@pytest.mark.parametrize("value", ["", "nonsense", "evt_" + "0" * 32, 7])
def test_an_id_of_another_kind_is_no_key_to_a_row(value: object) -> None:
    with pytest.raises(ValidationError):
        Subscriber.objects.filter(pk=value).exists()
