"""The portal's forms: the domain's own, in the portal's dress and with a subscriber's choices."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import transaction
from django.db.models import QuerySet
from django.forms.boundfield import BoundField
from django.forms.renderers import DjangoTemplates

from deliveries import replay_form, try_form
from deliveries.models import DeadLetter, Delivery
from deliveries.portal.own import Own
from subscriptions import credentials_form, endpoint_forms
from subscriptions.authentication import KINDS
from subscriptions.event_types import NAME_PATTERN
from subscriptions.models import Endpoint, Subscription

if TYPE_CHECKING:
    EndpointModelForm = forms.ModelForm[Endpoint]
else:
    EndpointModelForm = forms.ModelForm

WHERE = ["url", "description"]
SHAPE = ["format", "payload", "projection", "gzip_above", "send_traceparent"]
BATCHES = ["batch_events", "batch_seconds", "batch_bytes", "ordered"]
PACE = ["rate", "burst"]
SIGNATURE = ["signature_profile"]
EVERYTHING = "*"


class Renderer(DjangoTemplates):
    field_template_name = "portal/field.html"


class Dress:
    """How a form of the portal is shown."""

    default_renderer: Any = Renderer


@dataclass(frozen=True, slots=True)
class Group:
    """Fields that belong together."""

    title: str
    fields: Sequence[BoundField]
    folded: bool = False
    kind: str = ""
    """Of an authentication, whose fields are shown while it is chosen."""

    @property
    def is_open(self) -> bool:
        return not self.folded or any(field.errors for field in self.fields)


class Grouped:
    """An endpoint's form, in groups; what few need is folded up."""

    def groups(self) -> list[Group]:
        signature = [*SIGNATURE, "secret_kind", "secret", "require_handshake"]
        carried = ["headers", "remove_headers", "authentication"]
        return [
            self._group("Where it is", WHERE),
            self._group("Which events it gets", ["patterns"]),
            self._group("What events look like", SHAPE, folded=True),
            self._group("Batches and order", BATCHES, folded=True),
            self._group("How fast it gets them", PACE, folded=True),
            self._group("Signatures", signature, folded=True),
            self._group("Custom headers and authentication", carried, folded=True),
        ]

    def kinds(self) -> list[Group]:
        """The fields of each authentication."""
        return [
            self._group(kind.__doc__ or name, [f"{name}_{one.name}" for one in fields(kind)], name)
            for name, kind in KINDS.items()
            if fields(kind)
        ]

    def _group(
        self, title: str, names: Sequence[str], kind: str = "", *, folded: bool = False
    ) -> Group:
        form: Any = self
        return Group(title, [form[name] for name in names if name in form.fields], folded, kind)


class SettingsForm(Grouped, Dress, credentials_form.EndpointForm):
    class Meta(credentials_form.EndpointForm.Meta):
        fields = [*WHERE, *SHAPE, *BATCHES, *PACE, *SIGNATURE]


class FeedForm(Grouped, Dress, EndpointModelForm):
    """A feed has nothing else that could be set."""

    class Meta:
        model = Endpoint
        fields = ["description"]

    def keep(self) -> None:
        self.instance.save(update_fields=self.changed_data)


class NewEndpointForm(Grouped, Dress, endpoint_forms.NewEndpointForm):
    patterns = forms.MultipleChoiceField(
        label="Event types",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Others, channels and filters can be asked for later.",
    )

    class Meta(endpoint_forms.NewEndpointForm.Meta):
        fields = [*WHERE, *SHAPE, *BATCHES, *PACE, *SIGNATURE]

    def __init__(self, *values: Any, own: Own, **options: Any) -> None:
        super().__init__(*values, **options)
        names = own.event_types.values_list("name", flat=True)
        # One that is new has nothing to leave as it is, or to remove.
        del self.fields["remove_headers"]
        authentication: Any = self.fields["authentication"]
        authentication.choices = authentication.choices[1:]
        authentication.initial = "none"
        patterns: Any = self.fields["patterns"]
        patterns.choices = [
            (EVERYTHING, "everything, and whatever is added later"),
            *((name, name) for name in names),
        ]

    @transaction.atomic
    def keep(self) -> None:
        super().keep()
        for pattern in self.cleaned_data["patterns"]:
            subscription = Subscription(endpoint=self.instance, pattern=pattern)
            subscription.full_clean()
            subscription.save()


class RotateForm(Dress, endpoint_forms.RotateForm):
    pass


class SubscriptionForm(Dress, endpoint_forms.SubscriptionForm):
    def __init__(self, *values: Any, own: Own, **options: Any) -> None:
        super().__init__(*values, **options)
        self.fields["pattern"].widget.attrs.update(
            {"list": "event-types", "autocomplete": "off", "spellcheck": "false"}
        )
        # Another pattern would be another subscription.
        self.fields["pattern"].disabled = not self.instance._state.adding


class TryForm(Dress, try_form.TryForm):
    def example_fields(self) -> list[BoundField]:
        """What is not asked for by the subscription's own form."""
        return [self[name] for name in self.fields if name not in try_form.ASKED]


class ReplayForm(Dress, replay_form.ReplayForm):
    pass


class DeliveryFilters(Dress, forms.Form):
    """Which deliveries are listed; what makes no sense is passed over."""

    endpoint = forms.ChoiceField(required=False)
    state = forms.ChoiceField(
        required=False, choices=[("", "any"), *((one, one) for one in Delivery.State.values)]
    )
    type = forms.CharField(
        label="Event type", required=False, validators=[RegexValidator(NAME_PATTERN)]
    )
    before = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *values: Any, own: Own) -> None:
        super().__init__(*values)
        self.auto_id = "filter-%s"
        self._own = list(own.endpoints)
        endpoint: Any = self.fields["endpoint"]
        endpoint.choices = [("", "any"), *((one.pk, str(one)) for one in self._own)]
        self.fields["type"].widget.attrs.update({"list": "event-types", "autocomplete": "off"})
        self.is_valid()

    def clean_before(self) -> str:
        before: str = self.cleaned_data["before"]
        return before and str(Delivery._meta.pk.to_python(before))

    @property
    def asked(self) -> dict[str, str]:
        """What is asked for, of that which makes sense."""
        return {name: value for name, value in self.cleaned_data.items() if value}

    @property
    def narrows(self) -> bool:
        return bool(self.asked.keys() - {"before"})

    def endpoints(self) -> list[Endpoint]:
        chosen = self.asked.get("endpoint")
        return [one for one in self._own if chosen in (None, one.pk)]

    def apply(self, deliveries: QuerySet[Delivery]) -> QuerySet[Delivery]:
        lookups = {"state": "state", "type": "event__type", "before": "pk__lt"}
        asked = self.asked
        return deliveries.filter(
            **{lookup: asked[name] for name, lookup in lookups.items() if name in asked}
        )

    def link(self, **changes: str) -> str:
        """The query of the same list with something changed."""
        return "?" + urlencode({**self.asked, **changes})


class Chosen(forms.Form):
    """Which dead letters are meant."""

    letter = forms.ModelMultipleChoiceField(DeadLetter.objects.none(), required=False)

    def __init__(self, *values: Any, own: Own) -> None:
        super().__init__(*values)
        letters: Any = self.fields["letter"]
        letters.queryset = own.dead_letters

    def letters(self) -> list[DeadLetter]:
        """Those that are chosen and still open; none, where something makes no sense."""
        try:
            return list(self.cleaned_data["letter"]) if self.is_valid() else []
        except ValidationError:
            return []
