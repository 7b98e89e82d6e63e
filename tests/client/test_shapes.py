"""What the client says of the API's answers is what the API's document says."""

from typing import Any, get_type_hints, is_typeddict

import pytest

from angarium_client import shapes
from tests.api_client import schema as schema

COMPONENTS = {
    "Attempt": "Attempt",
    "ChangedEndpoint": "ChangedEndpoint",
    "DeadLetter": "DeadLetter",
    "DeadLetterJob": "DeadLetterJob",
    "Delivery": "Delivery",
    "DeliveryDetail": "DeliveryDetail",
    "DeliveryOfEvent": "DeliveryOfEvent",
    "Endpoint": "Endpoint",
    "Event": "Event",
    "EventDetail": "EventDetail",
    "Exchange": "ShownExchange",
    "Explanation": "Explanation",
    "Handshake": "Handshake",
    "Matching": "Matching",
    "Moment": "Moment",
    "NewEndpoint": "NewEndpoint",
    "NewReplay": "NewReplay",
    "Outlook": "Outlook",
    "Replay": "Replay",
    "ReplayCount": "Counted",
    "ShownRequest": "ShownRequest",
    "ShownResponse": "ShownResponse",
    "SigningSecret": "Secret",
    "Subscribed": "Asked",
    "Subscriber": "Subscriber",
}


def test_every_shape_is_compared() -> None:
    known = {name for name, shape in vars(shapes).items() if is_typeddict(shape)}
    assert known == set(COMPONENTS)


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_shape_has_the_fields_that_are_answered_and_no_other(
    name: str, schema: dict[str, Any]
) -> None:
    properties = schema["components"]["schemas"][COMPONENTS[name]]["properties"]
    answered = {field for field, about in properties.items() if not about.get("writeOnly")}
    assert set(get_type_hints(getattr(shapes, name))) == answered
