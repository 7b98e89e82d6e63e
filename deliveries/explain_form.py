"""The form that asks which endpoint is meant, where it is explained what became of an event."""

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect

from deliveries.models import Delivery
from subscriptions.models import Endpoint


class ExplainForm(forms.Form):
    endpoint = forms.ModelChoiceField(
        Endpoint.objects.select_related("subscriber"),
        widget=AutocompleteSelect(
            Delivery._meta.get_field("endpoint"), admin.site, attrs={"data-width": "100%"}
        ),
    )
