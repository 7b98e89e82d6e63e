import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from subscriptions.models import Endpoint
from subscriptions.shapes import InvalidShape, Payload, Shape
from tests.conftest import MakeEndpoint
from webhooks.formats import Format


def test_the_default_is_all_of_the_event_in_the_standard_format() -> None:
    assert Endpoint().shape == Shape(Format.STANDARD, Payload.FULL, "", None)


@pytest.mark.parametrize(
    "shape",
    [
        Shape(),
        Shape(Format.CLOUDEVENTS, Payload.THIN),
        Shape(Format.CLOUDEVENTS_BINARY, Payload.PROJECTION, "{id: id, lines: lines[].price}", 0),
    ],
)
def test_a_shape_that_makes_sense_is_taken(shape: Shape) -> None:
    shape.check()


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        (Shape(payload=Payload.PROJECTION), "Write the JMESPath expression"),
        (Shape(projection="id"), "choose the payload 'projection'"),
        (Shape(payload=Payload.THIN, projection="id"), "choose the payload 'projection'"),
        (Shape(payload=Payload.PROJECTION, projection="lines[?"), ""),
        (Shape(payload=Payload.PROJECTION, projection="no_such_function(id)"), ""),
    ],
)
def test_one_that_does_not_is_refused_with_the_reason(shape: Shape, says: str) -> None:
    with pytest.raises(InvalidShape) as refused:
        shape.check()
    assert refused.value.field == "projection"
    assert str(refused.value)
    assert says in str(refused.value)


def test_an_endpoint_s_form_says_so_beside_the_field() -> None:
    endpoint = Endpoint(payload=Payload.PROJECTION)
    with pytest.raises(ValidationError) as refused:
        endpoint.clean()
    assert list(refused.value.message_dict) == ["projection"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "columns",
    [
        {"format": "xml"},
        {"payload": "half"},
        {"payload": "projection"},
        {"payload": "thin", "projection": "id"},
    ],
)
def test_the_database_holds_it_too(make_endpoint: MakeEndpoint, columns: dict[str, str]) -> None:
    with pytest.raises(IntegrityError):
        make_endpoint(**columns)
