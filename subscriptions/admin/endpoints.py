"""Endpoints, with their signing secrets."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import Media
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from subscriptions.admin.base import LockingAdmin, RecordInline
from subscriptions.admin.bulk import bulk_action
from subscriptions.admin.display import mark, moment
from subscriptions.admin.endpoint_marks import (
    TONES,
    HealthFilter,
    shown_circuit,
    shown_handshake,
    shown_health,
)
from subscriptions.admin.filters import SubscriberFilter, SubscriberForm
from subscriptions.admin.subscriptions import SubscriptionInline
from subscriptions.credentials_form import EndpointForm, credential_fieldsets
from subscriptions.endpoint_forms import NewEndpointForm
from subscriptions.hidden_characters import shown
from subscriptions.history import HistoryEntry
from subscriptions.models import Endpoint, EndpointQuerySet, Handshake, SigningSecret
from webhooks.keys import InvalidSecret, Kind

logger = logging.getLogger(__name__)

PATTERNS_SHOWN = 5
WELL = {"state": Endpoint.State.ACTIVE, "circuit": Endpoint.Circuit.CLOSED, "failing_since": None}
ONE_ENDPOINT = "Choose one endpoint: its secret is shown by itself."


def _each(endpoints: Iterable[Endpoint], change: Callable[[Endpoint], object]) -> int:
    """Change each; returns how many they were."""
    changed = list(endpoints)
    for endpoint in changed:
        change(endpoint)
    return len(changed)


class SigningSecretInline(RecordInline):
    model = SigningSecret
    fields = ["secret", "created_at", "expires_at"]
    verbose_name_plural = "signing secrets"

    @admin.display
    def secret(self, secret: SigningSecret) -> str:
        return secret.public_key or "••••••••"


@admin.register(Endpoint)
# A report of an error would tell the secrets that were sent in.
@method_decorator(sensitive_post_parameters(), "changeform_view")
class EndpointAdmin(LockingAdmin):
    list_display = [
        *["url", "subscriber", "how_it_is", "health", "circuit_state"],
        *["last_success", "subscribes_to"],
    ]
    list_filter = ["state", "circuit", HealthFilter, SubscriberFilter]
    list_select_related = ["subscriber"]
    search_fields = ["url", "description", "subscriber__name", "subscriber__external_id"]
    search_help_text = "By URL, description, subscriber, or the full id of either."
    id_lookups = {"ep": "pk", "sub": "subscriber", "sbn": "subscriptions", "sec": "signing_secrets"}
    actions = [
        "pause",
        "resume",
        "close_circuit",
        "verify",
        "rotate_secret",
        "rotate_to_ed25519",
        "expire_secrets",
        "reveal_secret",
        "delete_for_good",
    ]
    buttons = ["pause", "resume"]
    form = EndpointForm
    autocomplete_fields = ["subscriber"]
    inlines = [SubscriptionInline, SigningSecretInline]
    facts = [
        "id",
        "how_it_is",
        "disabled_reason",
        "challenge",
        "health",
        "circuit_state",
        "last_success_at",
        "last_failure_at",
        "header_names",
        "authenticates_by",
        "created_at",
    ]
    facts_of_a_feed = ["id", "how_it_is", "created_at"]

    @property
    def media(self) -> Media:
        return super().media + SubscriberForm().media

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("subscriptions")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None and obj.is_feed:
            own = {"fields": ["subscriber", "description"]}
            return [(None, own), ("How it is", {"fields": self.facts_of_a_feed})]
        main = ["subscriber", "url", "description", "signature_profile"]
        pace = ["max_in_flight", ("rate", "burst")]
        shape = ["format", "payload", "projection", "gzip_above", "send_traceparent"]
        batches = ["batch_events", "batch_seconds", "batch_bytes", "ordered"]
        fieldsets: list[Any] = [
            (None, {"fields": main}),
            ("How fast it gets them", {"fields": pace}),
            ("What events look like", {"fields": [*shape, *batches]}),
        ]
        if obj is None:
            main += ["secret_kind", "secret", "require_handshake"]
        else:
            fieldsets.append(("How it is", {"fields": self.facts}))
        if obj is None or self.has_change_permission(request, obj):
            fieldsets += credential_fieldsets(obj)
        return fieldsets

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any
    ) -> Any:
        if obj is None:
            options["form"] = NewEndpointForm
        return super().get_form(request, obj, change, **options)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [] if obj is None else ["subscriber", *self.facts]

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [SubscriptionInline] if obj is None or obj.is_feed else self.inlines

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        deleted = obj is not None and obj.state == Endpoint.State.DELETED
        return not deleted and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Its deliveries are on record. There is an action that takes it out of use.
        return False

    def history_of(self, obj: Endpoint) -> QuerySet[HistoryEntry]:
        return HistoryEntry.objects.filter(endpoint=obj.pk)

    def has_delete_for_good_permission(self, request: HttpRequest) -> bool:
        return super().has_delete_permission(request)

    def has_rotate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("subscriptions.add_signingsecret")

    def has_reveal_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("subscriptions.reveal_signingsecret")

    def save_model(self, request: HttpRequest, obj: Endpoint, form: Any, change: bool) -> None:
        form.keep()
        for warning in obj.warnings() if "url" in form.changed_data else ():
            self.message_user(request, warning, messages.WARNING)

    def response_add(
        self, request: HttpRequest, obj: Endpoint, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._show_secret(request, obj)

    @admin.display(description="state", ordering="state")
    def how_it_is(self, endpoint: Endpoint) -> SafeString:
        return mark(endpoint.state, TONES[Endpoint.State(endpoint.state)])

    @admin.display(description="handshake")
    def challenge(self, endpoint: Endpoint) -> SafeString | str:
        return shown_handshake(Handshake.objects.filter(endpoint=endpoint).first())

    @admin.display(ordering="failing_since")
    def health(self, endpoint: Endpoint) -> SafeString:
        return shown_health(endpoint)

    @admin.display(description="circuit", ordering="circuit_opened_at")
    def circuit_state(self, endpoint: Endpoint) -> SafeString:
        return shown_circuit(endpoint)

    @admin.display(ordering="last_success_at")
    def last_success(self, endpoint: Endpoint) -> SafeString | None:
        return moment(endpoint.last_success_at)

    @admin.display(description="custom headers")
    def header_names(self, endpoint: Endpoint) -> str:
        return ", ".join(endpoint.shown_credentials["header_names"])

    @admin.display(description="authentication")
    def authenticates_by(self, endpoint: Endpoint) -> str:
        known = endpoint.shown_credentials["authentication"]
        return shown(", ".join(f"{name} {value}" for name, value in known.items() if value))

    @admin.display
    def subscribes_to(self, endpoint: Endpoint) -> str:
        enabled = [wish.pattern for wish in endpoint.subscriptions.all() if wish.enabled]
        patterns = list(dict.fromkeys(enabled))
        more = len(patterns) - PATTERNS_SHOWN
        shown = ", ".join(patterns[:PATTERNS_SHOWN])
        return f"{shown} and {more} more" if more > 0 else shown

    @bulk_action(
        "Pause: hold deliveries back",
        done="paused",
        permissions=["change"],
        touches=lambda endpoints: endpoints.sent_to().exclude(state=Endpoint.State.PAUSED),
    )
    def pause(self, request: HttpRequest, endpoints: EndpointQuerySet) -> int:
        return _each(endpoints, Endpoint.pause)

    @bulk_action(
        "Resume: deliver again",
        done="resumed",
        permissions=["change"],
        touches=lambda endpoints: endpoints.sent_to().exclude(**WELL),
    )
    def resume(self, request: HttpRequest, endpoints: EndpointQuerySet) -> int:
        return _each(endpoints, Endpoint.resume)

    @bulk_action(
        "Close the circuit: deliver at once",
        done="given a closed circuit",
        permissions=["change"],
        touches=EndpointQuerySet.sent_to,
    )
    def close_circuit(self, request: HttpRequest, endpoints: EndpointQuerySet) -> int:
        return _each(endpoints, Endpoint.close_circuit)

    @bulk_action(
        "Verify: send a challenge, hold deliveries",
        done="challenged",
        permissions=["change"],
        touches=EndpointQuerySet.sent_to,
    )
    def verify(self, request: HttpRequest, endpoints: EndpointQuerySet) -> int:
        return _each(endpoints, Handshake.objects.require)

    @bulk_action(
        "Give a new signing secret: HMAC-SHA256",
        done="given a new signing secret",
        permissions=["rotate"],
        touches=EndpointQuerySet.sent_to,
        only_one=ONE_ENDPOINT,
    )
    def rotate_secret(
        self, request: HttpRequest, endpoints: EndpointQuerySet
    ) -> HttpResponse | None:
        return self._rotate(request, endpoints.get(), Kind.HMAC)

    @bulk_action(
        "Give a new signing secret: Ed25519",
        done="given a new signing secret",
        permissions=["rotate"],
        touches=EndpointQuerySet.sent_to,
        only_one=ONE_ENDPOINT,
    )
    def rotate_to_ed25519(
        self, request: HttpRequest, endpoints: EndpointQuerySet
    ) -> HttpResponse | None:
        return self._rotate(request, endpoints.get(), Kind.ED25519)

    @bulk_action(
        "Expire replaced signing secrets now",
        done="limited to the newest signing secret",
        permissions=["rotate"],
        touches=EndpointQuerySet.existing,
    )
    def expire_secrets(self, request: HttpRequest, endpoints: EndpointQuerySet) -> int:
        return _each(endpoints, SigningSecret.objects.expire_replaced)

    @admin.action(description="Reveal the signing secret", permissions=["reveal"])
    def reveal_secret(
        self, request: HttpRequest, endpoints: EndpointQuerySet
    ) -> HttpResponse | None:
        chosen = list(endpoints.sent_to()[:2])
        if len(chosen) != 1:
            self.message_user(request, ONE_ENDPOINT, messages.ERROR)
            return None
        secret = chosen[0].signing_secrets.filter(expires_at=None).first()
        if secret is not None:
            HistoryEntry.objects.note_reveal(secret)
            logger.info("%s was shown the signing secret of %s", request.user, chosen[0].pk)
        return self._show_secret(request, chosen[0])

    @bulk_action(
        "Delete for good",
        done="deleted for good",
        permissions=["delete_for_good"],
        touches=EndpointQuerySet.existing,
        warning="The signing secrets and subscriptions go at once, and what is not delivered yet "
        "is discarded. This cannot be undone.",
    )
    def delete_for_good(self, request: HttpRequest, endpoints: EndpointQuerySet) -> int:
        return _each(endpoints, Endpoint.delete_for_good)

    def _rotate(self, request: HttpRequest, endpoint: Endpoint, kind: Kind) -> HttpResponse | None:
        try:
            SigningSecret.objects.issue(endpoint, kind=kind)
        except InvalidSecret as error:
            self.message_user(request, str(error), messages.ERROR)
            return None
        return self._show_secret(request, endpoint)

    def _show_secret(self, request: HttpRequest, endpoint: Endpoint) -> HttpResponse:
        # Not in a message: those go through cookies, and through the database, in the clear.
        context = {
            **self.admin_site.each_context(request),
            "title": "Signing secret",
            "opts": self.opts,
            "media": self.media,
            "endpoint": endpoint,
            "secret": endpoint.signing_secrets.filter(expires_at=None).first(),
        }
        return TemplateResponse(
            request, "admin/subscriptions/endpoint/signing_secret.html", context
        )
