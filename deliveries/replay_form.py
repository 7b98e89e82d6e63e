"""The form that asks for a replay: the admin's and the portal's."""

from typing import TYPE_CHECKING

from django import forms

from deliveries.models import Replay
from deliveries.replays import ASKED

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Replay]
else:
    ModelForm = forms.ModelForm


class ReplayForm(ModelForm):
    """What is to be replayed to the endpoint of its instance."""

    class Meta:
        model = Replay
        fields = ASKED
        widgets = {
            name: forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
            for name in ("since", "until")
        }

    states = forms.MultipleChoiceField(
        choices=Replay.ENDED,
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text=Replay._meta.get_field("states").help_text,
    )
