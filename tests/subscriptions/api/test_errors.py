import pytest
from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, connection
from django.http import Http404
from rest_framework.exceptions import NotFound
from rest_framework.test import APIClient

from subscriptions.api.errors import handle
from subscriptions.models import Subscriber


@pytest.mark.parametrize(
    ("error", "status", "answer"),
    [
        (ValidationError({"url": "no"}), 400, {"url": ["no"]}),
        (ValidationError("no"), 400, {"non_field_errors": ["no"]}),
        (DataError("NUL"), 400, ["detail"]),
        (IntegrityError("unique"), 409, ["detail"]),
        (Http404(), 404, ["detail"]),
        (NotFound(), 404, ["detail"]),
    ],
)
def test_what_models_and_database_refuse_is_answered(
    error: Exception, status: int, answer: object
) -> None:
    response = handle(error, {})
    assert response is not None
    assert response.status_code == status
    assert response.data == answer or list(response.data) == answer


def test_what_the_database_says_stays_inside() -> None:
    response = handle(IntegrityError('violates constraint "secret_name"'), {})
    assert response is not None
    assert "secret_name" not in str(response.data)


def test_a_fault_of_our_own_is_not_dressed_up() -> None:
    assert handle(RuntimeError("a bug"), {}) is None


def test_of_a_row_that_the_database_refuses_the_log_has_the_constraint_and_no_value(
    subscriber: Subscriber, api: APIClient, caplog: pytest.LogCaptureFixture
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE subscriptions_endpoint ADD CONSTRAINT as_after_a_race "
            "CHECK (description <> 'Shah Mosque')"
        )
    answer = api.post(
        "/api/v1/endpoints/",
        {
            "subscriber": subscriber.pk,
            "url": "https://example.com/isfahan?token=hunter2",
            "description": "Shah Mosque",
            "authentication": {"kind": "bearer", "token": "open-sesame"},
        },
    )
    assert answer.status_code == 409
    [said] = [one.getMessage() for one in caplog.records if one.name == "subscriptions.api.errors"]
    assert said == (
        "The database refused a change: 23514 as_after_a_race new row for relation "
        '"subscriptions_endpoint" violates check constraint "as_after_a_race"'
    )
    assert "isfahan" not in caplog.text


@pytest.mark.django_db
def test_a_value_that_the_database_refuses_is_not_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(DataError) as caught, connection.cursor() as cursor:
        cursor.execute("SELECT %s::uuid", ["open-sesame"])
    assert "open-sesame" in str(caught.value)
    handle(caught.value, {})
    assert caplog.messages == ["The database refused a value: 22P02"]
