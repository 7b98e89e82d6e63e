"""The form in which a subscription is tried out: its own words or others, an example or none."""

import json
from typing import Any

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from django.core.exceptions import ValidationError
from django.forms.models import fields_for_model

from deliveries.conf import DeliverySettings
from subscriptions.conf import part
from subscriptions.event_types import MAX_LENGTH, NAME_PATTERN
from subscriptions.explaining import Occurrence
from subscriptions.models import Subscription, check_channels
from webhooks import payloads

ASKED = ["pattern", "channels", "filter"]


class TryForm(forms.Form):
    """What is asked for, changed here for the trial alone, and perhaps an example of an event."""

    event_type = forms.RegexField(
        NAME_PATTERN,
        max_length=MAX_LENGTH,
        required=False,
        help_text="Of an example (invoice.paid); where empty, the last events are tried.",
    )
    event_channels = SimpleArrayField(
        forms.CharField(), required=False, validators=[check_channels]
    )
    event_data = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 6, "cols": 80, "spellcheck": "false"}),
        help_text="The example's data, as JSON.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        asked = fields_for_model(
            Subscription,
            ASKED,
            widgets={"filter": forms.Textarea(attrs={"rows": 2, "cols": 80})},
        )
        self.fields = {**asked, **self.fields}

    def clean_event_data(self) -> Any:
        try:
            data = json.loads(self.cleaned_data["event_data"] or "null")
            payloads.encode(data, max_bytes=part(DeliverySettings).max_payload_bytes)
        except (ValueError, RecursionError) as error:
            raise ValidationError(f"This is no data of an event: {error}") from error
        return data

    def clean(self) -> None:
        try:
            self.subscription().clean_fields(exclude={"endpoint", *self.errors})
        except ValidationError as error:
            self.add_error(None, error)

    def subscription(self) -> Subscription:
        """What is to be tried."""
        asked = {name: self.cleaned_data[name] for name in ASKED if name in self.cleaned_data}
        return Subscription(**asked)

    def example(self) -> Occurrence | None:
        """What to try it on, if the form is valid; None stands for the last events."""
        asked = self.cleaned_data
        if not asked["event_type"]:
            return None
        return Occurrence(asked["event_type"], asked["event_channels"], asked["event_data"])
