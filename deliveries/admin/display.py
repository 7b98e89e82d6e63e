"""How deliveries, and what came from outside with them, are shown; links to what explains them."""

from collections.abc import Mapping

from django.contrib.admin.utils import quote
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from deliveries.models import Delivery
from subscriptions.admin.display import mark
from subscriptions.hidden_characters import shown

State = Delivery.State
TONES = {
    State.PENDING: "busy",
    State.SENDING: "busy",
    State.WAITING: "waiting",
    State.HELD: "waiting",
    State.GATHERING: "waiting",
    State.BATCHED: "busy",
    State.QUEUED: "waiting",
    State.DELIVERED: "good",
    State.DEAD: "bad",
    State.DISCARDED: "over",
}


def state_of(delivery: Delivery) -> SafeString:
    state = State(delivery.state)
    return mark(state.value, TONES[state])


def text(value: str) -> SafeString | str:
    """Text from outside, with whatever would not show made visible."""
    return format_html('<pre class="text">{}</pre>', shown(value)) if value else "-"


def readable(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Headers from outside, with whatever would not show made visible."""
    return [(shown(name), shown(value)) for name, value in headers.items()]


def deliveries_of(row_id: str, label: object) -> SafeString:
    """A link to the deliveries of an event or an endpoint."""
    url = reverse("admin:deliveries_delivery_changelist", query={"q": row_id})
    return format_html('<a href="{}">{}</a>', url, label)


def why(event: str, endpoint: str | None = None) -> SafeString:
    """A link to where it is explained what became of an event at an endpoint."""
    query = {} if endpoint is None else {"endpoint": endpoint}
    url = reverse("admin:deliveries_event_explain", args=[quote(event)], query=query)
    words = "Why was it not delivered?" if endpoint is None else "Explain"
    return format_html('<a href="{}">{}</a>', url, words)
