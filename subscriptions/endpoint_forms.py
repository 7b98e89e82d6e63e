"""Forms of a new endpoint, a signing secret and a subscription: the admin's and the portal's."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction

from subscriptions.conf import SubscriptionSettings, part
from subscriptions.credentials_form import EndpointForm
from subscriptions.models import Endpoint, SigningSecret, Subscription
from webhooks.confidential import Confidential
from webhooks.keys import InvalidSecret, Kind
from webhooks.profiles import NO_ED25519, key_of, signs_with

if TYPE_CHECKING:
    SubscriptionModelForm = forms.ModelForm[Subscription]
else:
    SubscriptionModelForm = forms.ModelForm

SECRET_KINDS = [
    (Kind.HMAC, "HMAC-SHA256 (v1): a secret shared with the receiver"),
    (Kind.ED25519, "Ed25519 (v1a): the receiver has the public key alone"),
]


class SecretForm(forms.Form):
    """A signing secret to be: of which kind, and perhaps one that its owner brings."""

    secret_kind = forms.ChoiceField(choices=SECRET_KINDS, label="Signatures")
    secret = forms.CharField(
        label="Signing secret",
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"class": "vTextField", "autocomplete": "new-password"}),
        help_text="One that the receiver knows already, as when it moves here from another sender; "
        "a new one is made, if empty.",
    )

    def profile(self) -> str:
        """The signature profile that it has to go with."""
        profile: str = self.cleaned_data.get("signature_profile", "")
        return profile

    def clean_secret_kind(self) -> str:
        kind: str = self.cleaned_data["secret_kind"]
        if not signs_with(self.profile(), kind):
            raise ValidationError(NO_ED25519)
        return kind

    def clean_secret(self) -> Confidential | None:
        secret: str = self.cleaned_data["secret"]
        if not secret:
            return None
        try:
            key_of(self.profile(), secret)
        except InvalidSecret as error:
            raise ValidationError(str(error)) from error
        return Confidential(secret)

    def issue(self, endpoint: Endpoint) -> SigningSecret:
        """Give the endpoint what is asked for, if the form is valid."""
        asked = self.cleaned_data
        return SigningSecret.objects.issue(
            endpoint, asked["secret"], kind=Kind(asked["secret_kind"])
        )


class NewEndpointForm(EndpointForm, SecretForm):
    """An endpoint with its first signing secret."""

    require_handshake = forms.BooleanField(
        label="Handshake",
        required=False,
        help_text="Send nothing before the endpoint has repeated a challenge.",
    )

    def __init__(self, *values: Any, **options: Any) -> None:
        super().__init__(*values, **options)
        required = part(SubscriptionSettings).require_handshake
        self.fields["require_handshake"].initial = required
        self.fields["require_handshake"].disabled = required

    @transaction.atomic
    def keep(self) -> None:
        self.instance.save()
        self.issue(self.instance)
        if self.cleaned_data["require_handshake"]:
            self.instance.require_handshake()


class RotateForm(SecretForm):
    """Another signing secret for an endpoint that has one."""

    def __init__(self, *values: Any, endpoint: Endpoint, **options: Any) -> None:
        super().__init__(*values, **options)
        self.endpoint = endpoint

    def profile(self) -> str:
        return self.endpoint.signature_profile


class SubscriptionForm(SubscriptionModelForm):
    """Takes channels and the filter as a person writes them."""

    class Meta:
        model = Subscription
        fields = ["pattern", "channels", "filter", "enabled"]
        widgets = {"filter": forms.Textarea(attrs={"rows": 2, "cols": 60, "spellcheck": "false"})}

    def clean_channels(self) -> list[str]:
        return sorted(set(self.cleaned_data["channels"]))

    def save(self, commit: bool = True) -> Subscription:
        if "filter" in self.changed_data:
            self.instance.forget_failures()
        saved: Subscription = super().save(commit)
        return saved
