"""The form of an endpoint: takes its custom headers and authentication, shows no secret."""

from dataclasses import MISSING, Field, fields
from typing import TYPE_CHECKING, Any

from django import forms

from subscriptions.authentication import (
    KINDS,
    Authentication,
    InvalidAuthentication,
    MutualTLS,
    read,
)
from subscriptions.conf import SubscriptionSettings, part
from subscriptions.encryption import NotDecryptable
from subscriptions.models import Endpoint

if TYPE_CHECKING:
    EndpointModelForm = forms.ModelForm[Endpoint]
else:
    EndpointModelForm = forms.ModelForm

CREDENTIAL_COLUMNS = ["credentials", "credentials_shown"]


class WriteOnlyTextarea(forms.Textarea):
    """Never holds what was sent: a page that is shown again would have it in the clear."""

    def format_value(self, value: Any) -> None:
        return None


def _name(kind: type[Authentication], one: Field[Any]) -> str:
    return f"{kind.kind}_{one.name}"


def _input(kind: type[Authentication], one: Field[Any]) -> forms.CharField:
    widget: forms.Widget = forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"})
    if kind is MutualTLS:
        widget = WriteOnlyTextarea(attrs={"rows": 6, "spellcheck": "false"})
    elif not one.repr:
        widget = forms.PasswordInput(attrs={"class": "vTextField", "autocomplete": "new-password"})
    return forms.CharField(
        label=one.name.replace("_", " ").capitalize(),
        required=False,
        strip=False,
        max_length=kind.max_length,
        widget=widget,
    )


# One input for each field of each kind.
Inputs: Any = type(
    "Inputs",
    (forms.Form,),
    {_name(kind, one): _input(kind, one) for kind in KINDS.values() for one in fields(kind)},
)


class EndpointForm(EndpointModelForm, Inputs):  # type: ignore[misc]
    """An endpoint, with inputs that are empty whatever it has: what is left empty stays."""

    headers = forms.CharField(
        label="Custom headers",
        required=False,
        widget=WriteOnlyTextarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="One a line, as in X-Tenant: isfahan. They take the place of those before; if "
        "this is empty, those stay. Values are never shown again.",
    )
    remove_headers = forms.BooleanField(label="Remove the custom headers", required=False)
    authentication = forms.ChoiceField(
        required=False,
        choices=[("", "as it is"), *((name, kind.__doc__) for name, kind in KINDS.items())],
        help_text="What deliveries show beside their signature. Fill in all of its fields below: "
        "they take the place of those before. Secrets are never shown again.",
    )

    class Meta:
        model = Endpoint
        fields: Any = "__all__"

    @property
    def changed_columns(self) -> list[str]:
        """The endpoint's columns that this changes."""
        names = set(self.changed_data)
        columns = [one.name for one in Endpoint._meta.fields if one.name in names]
        return columns + CREDENTIAL_COLUMNS * self._sets_credentials

    def keep(self) -> None:
        """Save what was changed, and no more: deliveries go on meanwhile, and note its health."""
        self.instance.save(update_fields=self.changed_columns)
        if "url" in self.changed_data:
            self.instance.note_move(self.initial["url"])

    def clean_signature_profile(self) -> str:
        profile: str = self.cleaned_data["signature_profile"]
        if not self.instance._state.adding and profile != self.instance.signature_profile:
            self.instance.check_profile(profile)
        return profile

    def clean_headers(self) -> dict[str, str] | None:
        headers: dict[str, str] = {}
        for line in self.cleaned_data["headers"].splitlines():
            name, colon, value = line.partition(":")
            if not colon or name in headers:
                raise forms.ValidationError("Write one header a line, as in X-Tenant: isfahan.")
            headers[name] = value.strip()
        return headers or None

    def clean(self) -> None:
        super().clean()
        self._sets_credentials = False
        if not self.instance._state.adding and self.instance.is_feed:
            return
        headers = (
            {} if self.cleaned_data.get("remove_headers") else self.cleaned_data.get("headers")
        )
        authentication = self._authentication()
        self._sets_credentials = headers is not None or authentication is not None
        if self.errors:
            return
        if not self.instance._state.adding:
            try:
                self.instance.check_move(
                    self.cleaned_data["url"], headers=headers, authentication=authentication
                )
            except forms.ValidationError as error:
                self.add_error("url", error)
                return
        try:
            self.instance.set_credentials(headers=headers, authentication=authentication)
        except NotDecryptable as error:
            raise forms.ValidationError(
                f"{error} Or set headers and authentication both anew."
            ) from error

    def _authentication(self) -> Authentication | None:
        kind = KINDS.get(self.cleaned_data.get("authentication", ""))
        if kind is None:
            return None
        given = {"kind": kind.kind}
        for one in fields(kind):
            text = self.cleaned_data.get(_name(kind, one), "")
            if text or one.default is MISSING:
                given[one.name] = text
        try:
            return read(given, part(SubscriptionSettings).address_policy())
        except InvalidAuthentication as error:
            self.add_error(f"{kind.kind}_{error.field}", str(error))
            return None


def credential_fieldsets(endpoint: Endpoint | None) -> list[tuple[str, dict[str, Any]]]:
    """The form's inputs for the admin: those of each kind fold up."""
    headers = ["headers"] if endpoint is None else ["headers", "remove_headers"]
    return [
        ("What deliveries carry", {"fields": [*headers, "authentication"]}),
        *(
            (kind.kind, {"fields": names, "classes": ["collapse"]})
            for kind in KINDS.values()
            if (names := [_name(kind, one) for one in fields(kind)])
        ),
    ]
