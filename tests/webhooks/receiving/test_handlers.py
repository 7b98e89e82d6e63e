from datetime import UTC, datetime

import pytest

from webhooks.receiving.handlers import Handlers, matches
from webhooks.receiving.messages import Message


@pytest.mark.parametrize(
    ("pattern", "event_type", "expected"),
    [
        ("invoice.paid", "invoice.paid", True),
        ("invoice.paid", "invoice.paid.late", False),
        ("invoice.*", "invoice.paid", True),
        ("invoice.*", "invoice.paid.late", True),
        ("invoice.*", "invoice", False),
        ("invoice.*", "invoices.paid", False),
        ("*", "anything.at.all", True),
    ],
)
def test_a_pattern_matches_its_type_or_what_is_below_it(
    pattern: str, event_type: str, expected: bool
) -> None:
    assert matches(pattern, event_type) is expected


def test_each_message_goes_to_the_handlers_that_asked_for_its_type() -> None:
    handlers, calls = Handlers(), []
    handlers.on("invoice.paid")(lambda message: calls.append("paid"))
    handlers.on("invoice.*")(lambda message: calls.append("any invoice"))
    handlers.on("order.*")(lambda message: calls.append("any order"))
    now = datetime.now(UTC)
    handlers(Message("evt_1", "invoice.paid", now, {}, now, b""))
    handlers(Message("evt_2", "user.created", now, {}, now, b""))
    assert calls == ["paid", "any invoice"]
