"""How an endpoint is: its state, its health and its circuit, as marks and in words."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from subscriptions.admin.display import mark, moment
from subscriptions.hidden_characters import shown
from subscriptions.models import Endpoint, Handshake

TONES = {
    Endpoint.State.ACTIVE: "good",
    Endpoint.State.UNVERIFIED: "waiting",
    Endpoint.State.PAUSED: "waiting",
    Endpoint.State.DISABLED: "bad",
    Endpoint.State.FEED: "good",
    Endpoint.State.DELETED: "over",
}
CIRCUIT_TONES = {
    Endpoint.Circuit.CLOSED: "good",
    Endpoint.Circuit.OPEN: "bad",
    Endpoint.Circuit.HALF_OPEN: "waiting",
}


def shown_handshake(handshake: Handshake | None) -> SafeString | str:
    """How it goes with an endpoint's challenge."""
    if handshake is None:
        return "not required"
    if handshake.verified_at is not None:
        return format_html("verified {}", moment(handshake.verified_at))
    if handshake.tried_at is None:
        return "the challenge is about to be sent"
    status = f" ({handshake.status})" if handshake.status else ""
    ending = "" if handshake.due_at else "; it was the last try, unless somebody asks for another"
    return format_html(
        "try {}, {}: {}{}{}<pre class='text'>{}</pre>",
        handshake.tries,
        moment(handshake.tried_at),
        shown(handshake.error),
        status,
        ending,
        shown(handshake.response_body),
    )


def _probe(endpoint: Endpoint) -> SafeString | str:
    """When an endpoint whose circuit is not closed is probed."""
    if endpoint.circuit == Endpoint.Circuit.HALF_OPEN:
        return "a delivery probes it"
    if endpoint.probe_at is None:
        return ""
    if endpoint.probe_at < timezone.now():
        return "the next delivery probes it"
    return format_html("to be probed {}", moment(endpoint.probe_at))


def shown_circuit(endpoint: Endpoint) -> SafeString:
    """Whether its circuit lets deliveries through, and when it is probed where not."""
    circuit = Endpoint.Circuit(endpoint.circuit)
    return format_html(
        "{} {}", mark(circuit.label.lower(), CIRCUIT_TONES[circuit]), _probe(endpoint)
    )


def shown_health(endpoint: Endpoint) -> SafeString:
    """How its deliveries went lately, and how near it is to being disabled."""
    if endpoint.failing_since is not None:
        since = date_format(timezone.localtime(endpoint.failing_since), "j M H:i")
        warned = endpoint.failure_warning
        nearly = f", {warned} % of the time until it is disabled" if warned else ""
        return mark(f"failing since {since}{nearly}", "bad")
    if endpoint.last_success_at is None:
        return mark("nothing delivered yet", "over")
    return mark("healthy", "good")


class HealthFilter(admin.SimpleListFilter):
    title = parameter_name = "health"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("healthy", "healthy"), ("failing", "failing"), ("new", "nothing delivered yet")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        healthy = Q(failing_since=None)
        delivered = Q(last_success_at__isnull=False)
        by_choice = {
            "healthy": healthy & delivered,
            "failing": ~healthy,
            "new": healthy & ~delivered,
        }
        return queryset.filter(by_choice.get(self.value() or "", Q()))
