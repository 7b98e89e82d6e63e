import pytest
from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError
from django.http import Http404
from rest_framework.exceptions import NotFound

from subscriptions.api.errors import handle


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
