"""What the page says that tells why an event was delivered to an endpoint, or was not."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect

from deliveries.admin.display import TONES, state_of, text
from deliveries.explaining import Explanation
from deliveries.models import Delivery
from subscriptions.admin.display import mark
from subscriptions.hidden_characters import shown
from subscriptions.models import Endpoint

State = Delivery.State

EXPLAINED_TO = ["deliveries.view_event", "deliveries.view_delivery", "subscriptions.view_endpoint"]
"""The permissions that it takes."""


class ExplainForm(forms.Form):
    """Which endpoint is meant."""

    endpoint = forms.ModelChoiceField(
        Endpoint.objects.select_related("subscriber"),
        widget=AutocompleteSelect(
            Delivery._meta.get_field("endpoint"), admin.site, attrs={"data-width": "100%"}
        ),
    )


def explained(explanation: Explanation) -> dict[str, Any]:
    """An explanation for its page, with whatever in it would not show made visible."""
    delivery = explanation.delivery
    return {
        "explanation": explanation,
        "state": "" if delivery is None else state_of(delivery),
        "answer": shown(explanation.answer),
        "next": shown(explanation.next.sentence),
        "matching": shown(explanation.matching.sentence),
        "subscriptions": [
            {"asked": asked, "change": shown(asked.change)}
            for asked in explanation.matching.subscriptions
        ],
        "moments": [
            {
                "moment": moment,
                "state": mark(moment.state, TONES[State(moment.state)]) if moment.state else "",
                "sentence": shown(moment.sentence),
                "by": shown(moment.by),
                "response": text(moment.attempt.response_body) if moment.attempt else "",
            }
            for moment in explanation.timeline
        ],
    }
