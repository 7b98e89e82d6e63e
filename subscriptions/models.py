"""Who wants what: subscribers, their endpoints, and what each endpoint asked for."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self
from urllib.parse import urlsplit

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models, transaction
from django.db.models.functions import Now
from django.utils import timezone
from rest_framework_api_key.models import AbstractAPIKey

from subscriptions import encryption
from subscriptions.authentication import Authentication
from subscriptions.conf import SubscriptionSettings, part
from subscriptions.credentials import EndpointCredentials, parse_credentials
from subscriptions.event_types import MAX_LENGTH, NAME_PATTERN, SUBSCRIPTION_PATTERN
from subscriptions.ids import IdField
from subscriptions.rates import RATE_PATTERN
from webhooks.addresses import DEFAULT_PORTS, InvalidEndpointUrl, parse_url
from webhooks.confidential import Confidential
from webhooks.keys import InvalidSecret, Kind, generate_secret
from webhooks.profiles import Profile, key_of
from webhooks.sending.headers import InvalidHeader

SIGNATURE_PROFILES = [
    (Profile.STANDARD.value, "Standard Webhooks"),
    (Profile.GITHUB.value, "GitHub's style beside it: X-Hub-Signature-256"),
    (Profile.STRIPE.value, "Stripe's style beside it: Stripe-Signature"),
    (Profile.SLACK.value, "Slack's style beside it: X-Slack-Signature"),
]


def every_scope() -> list[str]:
    return list(ApiKey.Scope.values)


class ApiKey(AbstractAPIKey):
    """A key to the API, stored as a hash: a producer's, or one subscriber's own."""

    class Scope(models.TextChoices):
        EMIT = "emit"  # emit events
        READ = "read"  # look at everything but secrets
        MANAGE = "manage"  # change things, and all that read allows

    USE_NOTED_EVERY = timedelta(minutes=1)

    scopes = ArrayField(
        models.CharField(max_length=10, choices=Scope),
        default=every_scope,
        help_text="What it may do: emit events, read, or manage, which includes to read.",
    )
    subscriber = models.ForeignKey(
        "Subscriber",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="api_keys",
        help_text="The one subscriber that it sees and emits for; every subscriber, where empty.",
    )
    rate = models.CharField(
        max_length=12,
        blank=True,
        validators=[RegexValidator(RATE_PATTERN, "Write a number and /s, /m, /h or /d: 100/s.")],
        help_text="How many requests it may make, as in 100/s; API_RATE where empty.",
    )
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta(AbstractAPIKey.Meta):
        verbose_name = "API key"
        verbose_name_plural = "API keys"
        constraints = [
            models.CheckConstraint(
                name="api_key_has_known_scopes",
                condition=models.Q(
                    scopes__contained_by=["emit", "read", "manage"], scopes__len__gt=0
                ),
            ),
            models.CheckConstraint(
                name="api_key_rate_is_well_formed",
                condition=models.Q(rate="") | models.Q(rate__regex=RATE_PATTERN),
            ),
        ]

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or (
            scope == self.Scope.READ and self.Scope.MANAGE in self.scopes
        )

    def note_use(self) -> None:
        """Set `last_used_at`, once in USE_NOTED_EVERY; where somebody else does so, leave it."""
        due = timezone.now() - self.USE_NOTED_EVERY
        if self.last_used_at is not None and self.last_used_at > due:
            return
        keys = type(self).objects
        with transaction.atomic():
            unnoted = keys.filter(
                models.Q(last_used_at=None) | models.Q(last_used_at__lte=due), pk=self.pk
            )
            free = unnoted.select_for_update(skip_locked=True, no_key=True).values("pk")
            keys.filter(pk__in=free).update(last_used_at=Now())


class EventType(models.Model):
    """A name that events go by, in the catalogue that subscribers choose from."""

    name = models.CharField(
        primary_key=True, max_length=MAX_LENGTH, validators=[RegexValidator(NAME_PATTERN)]
    )
    description = models.TextField(blank=True)
    archived = models.BooleanField(
        default=False, help_text="No longer offered to subscribers; still delivered."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="event_type_name_is_dotted_words",
                condition=models.Q(name__regex=NAME_PATTERN),
            )
        ]

    def __str__(self) -> str:
        return self.name


class Subscriber(models.Model):
    """A customer, or whoever else owns endpoints."""

    id = IdField(prefix="sub")
    name = models.CharField(max_length=200)
    external_id = models.CharField(
        max_length=200,
        unique=True,
        null=True,
        blank=True,
        help_text="The subscriber's id in your own system.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name


def check_endpoint_url(url: str) -> None:
    """Raise ValidationError unless a delivery may be sent to `url`."""
    try:
        parse_url(url, part(SubscriptionSettings).address_policy())
    except InvalidEndpointUrl as error:
        raise ValidationError(str(error), code="invalid_endpoint_url") from error


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)


class EndpointQuerySet(models.QuerySet["Endpoint"]):
    def existing(self) -> Self:
        return self.exclude(state=Endpoint.State.DELETED)


class Endpoint(models.Model):
    """A URL of a subscriber's to which deliveries are POSTed."""

    class State(models.TextChoices):
        ACTIVE = "active"
        PAUSED = "paused"  # by a person; its deliveries are held
        DISABLED = "disabled"  # by Angarium, for the reason given; its deliveries are held
        DELETED = "deleted"  # kept for the record; its deliveries are discarded

    id = IdField(prefix="ep")
    subscriber = models.ForeignKey(Subscriber, models.PROTECT, related_name="endpoints")
    url = models.CharField("URL", max_length=2048, validators=[check_endpoint_url])
    description = models.CharField(max_length=500, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.ACTIVE)
    max_in_flight = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="How many deliveries it gets at a time from one worker; the default if empty.",
    )
    disabled_reason = models.CharField(max_length=200, blank=True)
    signature_profile = models.CharField(
        max_length=10,
        choices=SIGNATURE_PROFILES,
        default=Profile.STANDARD.value,
        help_text="How deliveries are signed: after Standard Webhooks, and beside it in the style "
        "of another sender, for a receiver that has long verified that one.",
    )
    credentials = models.TextField(
        null=True, editable=False, help_text="Custom headers and authentication, encrypted."
    )
    credentials_shown = models.JSONField(
        null=True, editable=False, help_text="What may be seen of them."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    last_success_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_failure_at = models.DateTimeField(null=True, blank=True, editable=False)
    failing_since = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="The first failure after the last success; empty while the endpoint is healthy.",
    )

    objects = EndpointQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                name="endpoint_state_is_known",
                condition=models.Q(state__in=["active", "paused", "disabled", "deleted"]),
            ),
            models.CheckConstraint(
                name="endpoint_has_room_for_a_delivery", condition=~models.Q(max_in_flight=0)
            ),
            models.CheckConstraint(
                name="endpoint_signature_profile_is_known",
                condition=models.Q(signature_profile__in=["standard", "github", "stripe", "slack"]),
            ),
        ]

    def __str__(self) -> str:
        return self.url

    @property
    def shown_credentials(self) -> dict[str, Any]:
        """What may be seen of its custom headers and its authentication."""
        shown: dict[str, Any] | None = self.credentials_shown
        return EndpointCredentials().shown() if shown is None else shown

    def check_move(
        self, url: str, *, headers: object | None, authentication: object | None
    ) -> None:
        """Raise ValidationError where credentials that were given for one host would go to another.

        `headers` and `authentication` are what is set anew with the URL; None is what stays.
        """
        if _origin(url) == _origin(self.url):
            return
        shown = self.shown_credentials
        if (shown["header_names"] and headers is None) or (
            shown["authentication"]["kind"] != "none" and authentication is None
        ):
            raise ValidationError(
                "The custom headers and the authentication were given for another host: "
                "set them anew together with this URL, or remove them first.",
                code="credentials_for_another_host",
            )

    def set_credentials(
        self,
        *,
        headers: Mapping[str, str] | None = None,
        authentication: Authentication | None = None,
    ) -> None:
        """Change the custom headers, the authentication, or both, for the caller to save.

        Raises ValidationError where they do not go together, and encryption.NotDecryptable if what
        is to stay cannot be read.
        """
        if headers is None and authentication is None:
            return
        if self.credentials is None or (headers is not None and authentication is not None):
            credentials = EndpointCredentials()
        else:
            credentials = parse_credentials(encryption.decrypt(self.credentials))
        credentials = credentials.changed(headers=headers, authentication=authentication)
        try:
            credentials.check()
        except InvalidHeader as error:
            raise ValidationError({"headers": str(error)}) from error
        self.credentials = encryption.encrypt(credentials.as_json()) if credentials else None
        self.credentials_shown = credentials.shown() if credentials else None

    def check_profile(self, profile: str) -> None:
        """Raise ValidationError where its signing secrets do not go with a signature profile."""
        try:
            for secret in self.signing_secrets.live():
                key_of(profile, encryption.decrypt(secret.ciphertext))
        except (InvalidSecret, encryption.NotDecryptable) as error:
            raise ValidationError(
                f"A signing secret of the endpoint stands in the way: {error} Give the endpoint "
                "another secret, and expire those it replaced, first.",
                code="secret_of_another_profile",
            ) from error

    def pause(self) -> None:
        """Hold its deliveries back until `resume`."""
        self.state = self.State.PAUSED
        self.save(update_fields=["state"])

    def resume(self) -> None:
        """Deliver again; what was held is released by the next sweep."""
        self.state, self.disabled_reason = self.State.ACTIVE, ""
        self.save(update_fields=["state", "disabled_reason"])

    def delete_for_good(self) -> None:
        """Take it out of use: its secrets go at once, what is not delivered is discarded."""
        with transaction.atomic():
            self.signing_secrets.all().delete()
            self.subscriptions.all().delete()
            self.state = self.State.DELETED
            self.credentials = self.credentials_shown = None
            self.save(update_fields=["state", "credentials", "credentials_shown"])


class Subscription(models.Model):
    """An endpoint's wish for the events whose type matches a pattern."""

    id = IdField(prefix="sbn")
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="subscriptions")
    pattern = models.CharField(
        max_length=MAX_LENGTH,
        validators=[
            RegexValidator(
                SUBSCRIPTION_PATTERN,
                "Use an event type (invoice.paid), all below one (invoice.*), or all (*).",
            )
        ],
        help_text="An event type (invoice.paid), all below one (invoice.*), or all (*).",
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pattern"]
        constraints = [
            models.UniqueConstraint(
                name="subscription_pattern_once_per_endpoint", fields=["endpoint", "pattern"]
            ),
            models.CheckConstraint(
                name="subscription_pattern_is_well_formed",
                condition=models.Q(pattern__regex=SUBSCRIPTION_PATTERN),
            ),
        ]
        indexes = [
            models.Index(
                name="subscription_by_pattern",
                fields=["pattern", "endpoint"],
                condition=models.Q(enabled=True),
            )
        ]

    def __str__(self) -> str:
        return self.pattern


class SigningSecretManager(models.Manager["SigningSecret"]):
    def issue(
        self, endpoint: Endpoint, secret: str | None = None, *, kind: Kind | None = None
    ) -> "SigningSecret":
        """Give the endpoint a signing secret, a new one unless its owner brings one.

        A new one is of the kind of the one before (HMAC at first), unless `kind` says otherwise.
        The one before goes on signing for SECRET_OVERLAP, so that the receiver has time to change.
        Raises keys.InvalidSecret where the endpoint's profile cannot sign with `secret`.
        """
        overlap = timedelta(seconds=part(SubscriptionSettings).secret_overlap)
        with transaction.atomic():
            before = self.filter(endpoint=endpoint, expires_at=None).first()
            if secret is None:
                secret = generate_secret(kind or (before.kind if before else Kind.HMAC))
            key = key_of(endpoint.signature_profile, secret)
            if before is not None:
                before.expires_at = timezone.now() + overlap
                before.save(update_fields=["expires_at"])
            return self.create(
                endpoint=endpoint,
                ciphertext=encryption.encrypt(secret),
                public_key=key.public,
            )

    def expire_replaced(self, endpoint: Endpoint) -> int:
        """Delete all but the newest, as when another is known to others. Returns how many."""
        expired, _ = self.filter(endpoint=endpoint).exclude(expires_at=None).delete()
        return expired

    def drop_expired(self, limit: int) -> int:
        """Delete some of those that sign no longer. Returns how many."""
        expired = self.filter(expires_at__lte=Now()).order_by("expires_at")
        with transaction.atomic():
            ids = expired.select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit]
            dropped, _ = self.filter(pk__in=list(ids)).delete()
        return dropped

    def live(self) -> models.QuerySet["SigningSecret"]:
        """Those that sign now."""
        return self.filter(models.Q(expires_at=None) | models.Q(expires_at__gt=Now()))


class SigningSecret(models.Model):
    """What an endpoint's deliveries are signed with; encrypted at rest."""

    id = IdField(prefix="sec")
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="signing_secrets")
    ciphertext = models.TextField(editable=False)
    public_key = models.CharField(
        max_length=60,
        blank=True,
        editable=False,
        help_text="What the receiver verifies with; empty where that is the secret itself.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = SigningSecretManager()

    class Meta:
        ordering = ["-id"]
        permissions = [("reveal_signingsecret", "Can reveal signing secret")]
        constraints = [
            models.UniqueConstraint(
                name="one_signing_secret_per_endpoint_does_not_expire",
                fields=["endpoint"],
                condition=models.Q(expires_at=None),
            )
        ]
        indexes = [
            models.Index(
                name="signing_secret_expired",
                fields=["expires_at"],
                condition=models.Q(expires_at__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def kind(self) -> Kind:
        return Kind.ED25519 if self.public_key else Kind.HMAC

    @property
    def signs_now(self) -> bool:
        return self.expires_at is None or self.expires_at > timezone.now()

    def reveal(self) -> Confidential | None:
        """The secret in the clear, or None if it is a private key, which nobody needs.

        Raises encryption.NotDecryptable.
        """
        return None if self.public_key else encryption.decrypt(self.ciphertext)
