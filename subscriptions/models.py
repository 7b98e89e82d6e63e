"""Who wants what: subscribers, their endpoints, and what each endpoint asked for."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Self
from urllib.parse import urlsplit

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models, transaction
from django.db.models.functions import Now
from django.utils import timezone
from rest_framework_api_key.models import AbstractAPIKey

from subscriptions import encryption
from subscriptions.authentication import Authentication
from subscriptions.channels import MAX_CHANNELS, InvalidChannels, normalized
from subscriptions.channels import MAX_LENGTH as MAX_CHANNEL_LENGTH
from subscriptions.conf import SubscriptionSettings, part
from subscriptions.credentials import EndpointCredentials, parse_credentials
from subscriptions.event_types import (
    FLAG_PATTERN,
    MAX_FLAG_LENGTH,
    MAX_LENGTH,
    NAME_PATTERN,
    SUBSCRIPTION_PATTERN,
)
from subscriptions.expressions import MAX_BYTES, Expression, InvalidExpression
from subscriptions.hidden_characters import refuse_hidden
from subscriptions.history import HistoryEntry as HistoryEntry  # Django looks for models here
from subscriptions.ids import IdField
from subscriptions.operational import OPERATIONAL_TYPES
from subscriptions.payload_schemas import InvalidSchema, first_fault, json_text, schema_text
from subscriptions.portal_access import PortalSession as PortalSession  # here as well
from subscriptions.rates import RATE_PATTERN
from subscriptions.shapes import InvalidShape, Payload, Shape
from webhooks.addresses import DEFAULT_PORTS, InvalidEndpointUrl, parse_url
from webhooks.confidential import Confidential
from webhooks.formats import Format
from webhooks.keys import InvalidSecret, Kind, generate_secret
from webhooks.profiles import Profile, key_of
from webhooks.sending.headers import InvalidHeader
from webhooks.sending.outcome import OutcomeKind

OUTCOMES = [(kind.value, kind.value.replace("_", " ")) for kind in OutcomeKind]

SIGNATURE_PROFILES = [
    (Profile.STANDARD.value, "Standard Webhooks"),
    (Profile.GITHUB.value, "GitHub's style beside it: X-Hub-Signature-256"),
    (Profile.STRIPE.value, "Stripe's style beside it: Stripe-Signature"),
    (Profile.SLACK.value, "Slack's style beside it: X-Slack-Signature"),
]

well_formed_pattern = RegexValidator(
    SUBSCRIPTION_PATTERN, "Use an event type (invoice.paid), all below one (invoice.*), or all (*)."
)


def every_scope() -> list[str]:
    return list(ApiKey.Scope.values)


class ApiKey(AbstractAPIKey):
    """A key to the API, stored as a hash: a producer's, or one subscriber's own."""

    class Scope(models.TextChoices):
        EMIT = "emit"  # emit events
        READ = "read"  # look at everything but secrets
        MANAGE = "manage"  # change things, and all that read allows

    USE_NOTED_EVERY = timedelta(minutes=1)

    # Not a column: the key itself, for whoever has just made it.
    just_made = ""

    name = models.CharField(
        max_length=50,
        default=None,
        validators=[refuse_hidden],
        help_text="Whose key it is, or what for.",
    )
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
        limit_choices_to={"erasing_since": None},
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

    class SchemaCheck(models.TextChoices):
        REFUSE = "refuse"  # emit() raises an error
        WARN = "warn"  # it is logged, and the event is delivered
        OFF = "off"  # the schema is there to be read

    name = models.CharField(
        primary_key=True, max_length=MAX_LENGTH, validators=[RegexValidator(NAME_PATTERN)]
    )
    description = models.TextField(blank=True, validators=[refuse_hidden])
    group = models.CharField(
        max_length=64, blank=True, help_text="Under which heading it is listed, as in Billing."
    )
    archived = models.BooleanField(
        default=False, help_text="No longer offered to subscribers; still delivered."
    )
    feature_flag = models.CharField(
        max_length=MAX_FLAG_LENGTH,
        blank=True,
        validators=[RegexValidator(FLAG_PATTERN)],
        help_text="Where set, only for the subscribers that have this feature flag; to all others "
        "it does not exist.",
    )
    schema = models.JSONField(
        null=True, blank=True, help_text="What the data is like: a JSON Schema, draft 2020-12."
    )
    schema_check = models.CharField(
        max_length=10,
        choices=SchemaCheck,
        default=SchemaCheck.REFUSE,
        help_text="What becomes of an event whose data breaks the schema: it is refused, or a "
        "warning is logged and it is delivered, or nobody looks.",
    )
    example = models.JSONField(
        null=True, blank=True, help_text="What the data may look like; it must satisfy the schema."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="event_type_name_is_dotted_words",
                condition=models.Q(name__regex=NAME_PATTERN),
            ),
            models.CheckConstraint(
                name="event_type_schema_check_is_known",
                condition=models.Q(schema_check__in=["refuse", "warn", "off"]),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raise ValidationError where the schema is none, or the example does not satisfy it."""
        checked = "schema"
        try:
            schema = None if self.schema is None else schema_text(self.schema)
            checked = "example"
            if self.example is not None:
                json_text(self.example)
        except InvalidSchema as error:
            raise ValidationError({checked: str(error)}) from error
        fault = self.example is not None and schema and first_fault(schema, self.example)
        if fault:
            raise ValidationError({"example": f"It breaks the schema: {fault}."})


class SubscriberQuerySet(models.QuerySet["Subscriber"]):
    def staying(self) -> Self:
        """Those that are not being erased."""
        return self.filter(erasing_since=None)


class Subscriber(models.Model):
    """A customer, or whoever else owns endpoints."""

    id = IdField(prefix="sub")
    name = models.CharField(max_length=200, validators=[refuse_hidden])
    external_id = models.CharField(
        max_length=200,
        validators=[refuse_hidden],
        unique=True,
        null=True,
        blank=True,
        help_text="The subscriber's id in your own system.",
    )
    feature_flags = ArrayField(
        models.CharField(max_length=MAX_FLAG_LENGTH, validators=[RegexValidator(FLAG_PATTERN)]),
        default=list,
        blank=True,
        help_text="It is offered, and gets, the event types with one of these feature flags too.",
    )
    operator = models.BooleanField(
        default=False,
        help_text="Whether it is you who run Angarium: its endpoints may ask for Angarium's own "
        "events (endpoint.disabled, delivery.dead, ...), and cause none.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    erasing_since = models.DateTimeField(
        null=True, editable=False, help_text="When it was asked to be erased with all its own."
    )

    objects = SubscriberQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                name="subscriber_operator", fields=["id"], condition=models.Q(operator=True)
            )
        ]

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


def _canonical(url: str) -> str | None:
    """The URL as it is requested; None where nothing may be sent to it (any more)."""
    try:
        return parse_url(url, part(SubscriptionSettings).address_policy()).url
    except InvalidEndpointUrl:
        return None


class EndpointQuerySet(models.QuerySet["Endpoint"]):
    def existing(self) -> Self:
        return self.exclude(state=Endpoint.State.DELETED)

    def sent_to(self) -> Self:
        """Those that exist and have a URL: feeds are fetched."""
        return self.existing().exclude(state=Endpoint.State.FEED)


class Endpoint(models.Model):
    """A URL of a subscriber's to which deliveries are POSTed, or the feed that it fetches."""

    class State(models.TextChoices):
        ACTIVE = "active"
        UNVERIFIED = "unverified"  # has not answered its challenge; its deliveries are held
        PAUSED = "paused"  # by a person; its deliveries are held
        DISABLED = "disabled"  # by Angarium, for the reason given; its deliveries are held
        FEED = "feed"  # has no URL; its deliveries are held until they are fetched
        DELETED = "deleted"  # kept for the record; its deliveries are discarded

    class Circuit(models.TextChoices):
        CLOSED = "closed"  # deliveries are sent
        OPEN = "open"  # too many failed; deliveries are held until the probe
        HALF_OPEN = "half_open", "Half-open"  # one delivery probes it, the others are held

    id = IdField(prefix="ep")
    subscriber = models.ForeignKey(
        Subscriber,
        models.PROTECT,
        related_name="endpoints",
        limit_choices_to={"erasing_since": None},
    )
    url = models.CharField("URL", max_length=2048, validators=[check_endpoint_url])
    description = models.CharField(max_length=500, blank=True, validators=[refuse_hidden])
    state = models.CharField(max_length=10, choices=State, default=State.ACTIVE)
    max_in_flight = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="How many deliveries it gets at a time from one worker; the default if empty.",
    )
    rate = models.CharField(
        max_length=12,
        blank=True,
        default="",
        validators=[RegexValidator(RATE_PATTERN, "Write a number and /s, /m, /h or /d: 100/s.")],
        help_text="How many requests it gets at most, as in 100/s or 30/m; any number, if empty.",
    )
    burst = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(100_000)],
        help_text="How many of them may come at once; what the rate allows in a second, if empty.",
    )
    format = models.CharField(
        max_length=20,
        choices=[
            (Format.STANDARD, "Standard Webhooks"),
            (Format.CLOUDEVENTS, "CloudEvents, structured"),
            (Format.CLOUDEVENTS_BINARY, "CloudEvents, binary"),
        ],
        default=Format.STANDARD,
        help_text="How events are written down.",
    )
    payload = models.CharField(
        max_length=10,
        choices=[
            (Payload.FULL, "full: all of the data"),
            (Payload.THIN, "thin: the event's id, and a link to fetch it by"),
            (Payload.PROJECTION, "projection: what the expression below makes of the data"),
        ],
        default=Payload.FULL,
        help_text="How much of an event's data is sent.",
    )
    projection = models.CharField(
        max_length=MAX_BYTES,
        blank=True,
        help_text="A JMESPath expression of the data, as in {id: id, total: lines[].price}.",
    )
    gzip_above = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Bodies of more bytes than this are sent in gzip; none, if empty.",
    )
    send_traceparent = models.BooleanField(
        default=False,
        help_text="Whether requests say by a traceparent header which trace they belong to.",
    )
    batch_events = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(2), MaxValueValidator(1000)],
        help_text="So many events at most in one request, 2 to 1000; if empty, each goes alone.",
    )
    batch_seconds = models.PositiveSmallIntegerField(
        default=5,
        validators=[MinValueValidator(1), MaxValueValidator(300)],
        help_text="How long an event waits at most for others, 1 to 300.",
    )
    batch_bytes = models.PositiveIntegerField(
        default=256 * 1024,
        validators=[MinValueValidator(1024), MaxValueValidator(8 * 1024 * 1024)],
        help_text="So many bytes of data at most in one request; an event with more goes alone.",
    )
    ordered = models.BooleanField(
        default=False,
        help_text="Whether events that share an ordering key arrive one after another, in order.",
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
    failure_warning = models.PositiveSmallIntegerField(
        default=0,
        editable=False,
        help_text="How far it is on its way to being disabled, in per cent: 50, 70 or 90.",
    )
    circuit = models.CharField(
        max_length=10, choices=Circuit, default=Circuit.CLOSED, editable=False
    )
    circuit_opened_at = models.DateTimeField(null=True, blank=True, editable=False)
    openings = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text="How often it has opened since it was last closed."
    )
    probe_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When its circuit is probed: by the next delivery that there is then.",
    )
    probe = models.UUIDField(
        null=True, editable=False, help_text="The delivery that probes it, while it is half-open."
    )
    takes_deliveries = models.GeneratedField(
        expression=models.ExpressionWrapper(
            models.Q(state="active", circuit="closed"), models.BooleanField()
        ),
        output_field=models.BooleanField(),
        db_persist=True,
    )

    objects = EndpointQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                name="endpoint_state_is_known",
                condition=models.Q(
                    state__in=["active", "unverified", "paused", "disabled", "feed", "deleted"]
                ),
            ),
            models.CheckConstraint(
                name="endpoint_has_a_url_unless_it_is_a_feed",
                condition=models.Q(state="deleted")
                | models.Q(state="feed", url="")
                | (~models.Q(state="feed") & ~models.Q(url="")),
            ),
            models.UniqueConstraint(
                name="one_feed_per_subscriber",
                fields=["subscriber"],
                condition=models.Q(state="feed"),
            ),
            models.CheckConstraint(
                name="endpoint_has_room_for_a_delivery", condition=~models.Q(max_in_flight=0)
            ),
            models.CheckConstraint(
                name="endpoint_rate_is_well_formed",
                condition=models.Q(rate="") | models.Q(rate__regex=RATE_PATTERN),
            ),
            models.CheckConstraint(
                name="endpoint_has_a_burst_only_with_a_rate",
                condition=models.Q(burst=None) | (models.Q(burst__gte=1) & ~models.Q(rate="")),
            ),
            models.CheckConstraint(
                name="endpoint_is_warned_of_only_while_it_fails",
                condition=models.Q(failure_warning=0)
                | models.Q(failure_warning__in=[50, 70, 90], failing_since__isnull=False),
            ),
            models.CheckConstraint(
                name="endpoint_circuit_knows_how_it_goes_on",
                condition=models.Q(
                    circuit="closed",
                    circuit_opened_at=None,
                    openings=0,
                    probe_at=None,
                    probe=None,
                )
                | models.Q(
                    models.Q(circuit="open", probe_at__isnull=False, probe=None)
                    | models.Q(circuit="half_open", probe_at=None, probe__isnull=False),
                    circuit_opened_at__isnull=False,
                    openings__gte=1,
                ),
            ),
            models.CheckConstraint(
                name="endpoint_has_limits_of_a_batch_that_make_sense",
                condition=models.Q(
                    models.Q(batch_events=None) | models.Q(batch_events__range=(2, 1000)),
                    batch_seconds__range=(1, 300),
                    batch_bytes__gte=1024,
                ),
            ),
            models.CheckConstraint(
                name="endpoint_has_order_or_batches",
                condition=models.Q(ordered=False) | models.Q(batch_events=None),
            ),
            models.CheckConstraint(
                name="endpoint_format_is_known",
                condition=models.Q(format__in=["standard", "cloudevents", "cloudevents_binary"]),
            ),
            models.CheckConstraint(
                name="endpoint_has_an_expression_where_it_wants_a_projection",
                condition=models.Q(payload__in=["full", "thin"], projection="")
                | (models.Q(payload="projection") & ~models.Q(projection="")),
            ),
            models.CheckConstraint(
                name="endpoint_signature_profile_is_known",
                condition=models.Q(signature_profile__in=["standard", "github", "stripe", "slack"]),
            ),
        ]
        indexes = [
            models.Index(
                name="endpoint_failing",
                fields=["failing_since"],
                condition=models.Q(failing_since__isnull=False),
            ),
            models.Index(
                name="endpoint_not_closed",
                fields=["probe_at"],
                condition=~models.Q(circuit="closed"),
            ),
        ]

    def __str__(self) -> str:
        return self.url or "feed"

    @property
    def is_feed(self) -> bool:
        return not self.url

    @property
    def shape(self) -> Shape:
        batched = self.batch_events is not None
        return Shape.of(self.format, self.payload, self.projection, self.gzip_above, batched)

    def clean(self) -> None:
        try:
            self.shape.check()
        except InvalidShape as error:
            raise ValidationError({error.field: str(error)}) from error
        if self.ordered and self.batch_events is not None:
            raise ValidationError(
                {"ordered": "Choose batches or order: there is no order in both."}
            )
        if self.burst is not None and not self.rate:
            raise ValidationError({"burst": "There is no burst without a rate: set both."})

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
        """Deliver again, as to one that never failed; what was held is released little by little.

        One that has not answered its challenge is sent that again first.
        """
        with transaction.atomic():
            self.state, self.disabled_reason = self.State.ACTIVE, ""
            self.failing_since, self.failure_warning = None, 0
            self.save(
                update_fields=["state", "disabled_reason", "failing_since", "failure_warning"]
            )
            self.close_circuit()
            if Handshake.objects.filter(endpoint=self, verified_at=None).exists():
                Handshake.objects.require(self)

    def close_circuit(self) -> None:
        """Deliver again without a probe first."""
        self.circuit, self.openings = self.Circuit.CLOSED, 0
        self.circuit_opened_at = self.probe_at = self.probe = None
        self.save(update_fields=["circuit", "openings", "circuit_opened_at", "probe_at", "probe"])

    def note_move(self, before: str) -> None:
        """Require a new handshake where its URL, which was `before`, has moved to another host.

        That is for endpoints that have had one, and for all where REQUIRE_HANDSHAKE says so.
        """
        if _origin(before) != _origin(self.url) and (
            part(SubscriptionSettings).require_handshake
            or Handshake.objects.filter(endpoint=self).exists()
        ):
            Handshake.objects.require(self)

    def warnings(self) -> list[str]:
        """What may not be meant: its subscriber has the same URL, however written, already."""
        own = None if self.is_feed else _canonical(self.url)
        others = Endpoint.objects.sent_to().filter(subscriber=self.subscriber_id)
        urls = others.exclude(pk=self.pk).order_by("pk").values_list("pk", "url")
        doubles = [str(other) for other, url in urls if own is not None and _canonical(url) == own]
        if not doubles:
            return []
        named = ", ".join(doubles[:3]) + (" and others" if len(doubles) > 3 else "")
        return [f"The subscriber has this URL already ({named}): what both ask for arrives twice."]

    def delete_for_good(self) -> None:
        """Take it out of use: its secrets go at once, what is not delivered is discarded."""
        with transaction.atomic():
            self.signing_secrets.all().delete()
            self.subscriptions.all().delete()
            Handshake.objects.filter(endpoint=self).delete()
            Feed.objects.filter(endpoint=self).delete()
            self.state = self.State.DELETED
            self.credentials = self.credentials_shown = None
            self.save(update_fields=["state", "credentials", "credentials_shown"])


class HandshakeManager(models.Manager["Handshake"]):
    def require(self, endpoint: Endpoint) -> None:
        """Hold an endpoint's deliveries until it has answered a challenge, which is due at once.

        One that is paused or disabled is challenged when it is resumed.
        """
        with transaction.atomic():
            if endpoint.state == Endpoint.State.ACTIVE:
                endpoint.state = Endpoint.State.UNVERIFIED
                endpoint.save(update_fields=["state"])
            now = timezone.now()
            plan = {"required_at": now, "due_at": now, "tries": 0, "verified_at": None}
            endpoint.handshake, _ = self.update_or_create(endpoint=endpoint, defaults=plan)


class Handshake(models.Model):
    """That an endpoint has to repeat a challenge before anything is sent to it, and how that goes.

    Of the answers the last is kept. The challenge is not: each try has another.
    """

    endpoint = models.OneToOneField(Endpoint, models.CASCADE, primary_key=True)
    required_at = models.DateTimeField()
    due_at = models.DateTimeField(
        null=True, help_text="When the challenge is sent (again); empty once that is over."
    )
    tries = models.PositiveSmallIntegerField(default=0)
    tried_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=20, null=True, choices=OUTCOMES)
    status = models.PositiveSmallIntegerField(null=True, help_text="The HTTP status, if one came.")
    error = models.TextField(blank=True, help_text="Why it is not verified.")
    response_body = models.TextField(blank=True, help_text="Its first 4 KiB.")
    verified_at = models.DateTimeField(null=True)

    objects = HandshakeManager()

    class Meta:
        indexes = [
            models.Index(
                name="handshake_due", fields=["due_at"], condition=models.Q(due_at__isnull=False)
            )
        ]

    def __str__(self) -> str:
        return f"{self.endpoint_id} {'verified' if self.verified_at else 'unverified'}"


class FeedManager(models.Manager["Feed"]):
    def open(self, subscriber: Subscriber, description: str = "") -> Endpoint:
        """Give a subscriber a feed, which has no subscriptions yet; it may have no other."""
        with transaction.atomic():
            endpoint = Endpoint.objects.create(
                subscriber=subscriber, description=description, state=Endpoint.State.FEED
            )
            self.create(endpoint=endpoint)
        return endpoint


class Feed(models.Model):
    """How far a feed has been fetched: each delivery gets the next position when it first is."""

    endpoint = models.OneToOneField(Endpoint, models.CASCADE, primary_key=True)
    last_position = models.BigIntegerField(default=0)

    objects = FeedManager()

    def __str__(self) -> str:
        return f"{self.endpoint_id} at {self.last_position}"


def check_channels(channels: list[str]) -> None:
    """Raise ValidationError unless all of them are channels, and not too many."""
    try:
        normalized(channels)
    except InvalidChannels as error:
        raise ValidationError(str(error), code="invalid_channels") from error


def check_filter(filter: str) -> None:
    """Raise ValidationError unless `filter` is a JMESPath expression, and not too large."""
    try:
        Expression.parse(filter)
    except InvalidExpression as error:
        raise ValidationError(str(error), code="invalid_filter") from error


class Subscription(models.Model):
    """An endpoint's wish for the events whose type matches a pattern.

    And, if it says so, that are on one of its channels and pass its filter.
    """

    id = IdField(prefix="sbn")
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="subscriptions")
    pattern = models.CharField(
        max_length=MAX_LENGTH,
        validators=[well_formed_pattern],
        help_text="An event type (invoice.paid), all below one (invoice.*), or all (*).",
    )
    channels = ArrayField(
        models.CharField(max_length=MAX_CHANNEL_LENGTH),
        default=list,
        blank=True,
        validators=[check_channels],
        help_text="Only events on one of these channels (eu, project-42); all, where empty.",
    )
    filter = models.CharField(
        max_length=MAX_BYTES,
        blank=True,
        default="",
        validators=[check_filter],
        help_text="Only events whose data makes this JMESPath expression true, as in "
        "amount > `100`; all, where empty.",
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    filter_failures = models.PositiveBigIntegerField(
        default=0,
        editable=False,
        help_text="How many events the filter could not tell of; they were let through.",
    )
    filter_failed_at = models.DateTimeField(null=True, editable=False)
    filter_error = models.CharField(
        max_length=200, blank=True, editable=False, help_text="Why, the last time."
    )

    class Meta:
        ordering = ["pattern", "id"]
        constraints = [
            models.UniqueConstraint(
                name="subscription_wish_once_per_endpoint",
                fields=["endpoint", "pattern", "channels", "filter"],
            ),
            models.CheckConstraint(
                name="subscription_channels_are_not_too_many",
                condition=models.Q(channels__len__lte=MAX_CHANNELS),
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

    @property
    def wish(self) -> tuple[str, tuple[str, ...], str]:
        """What is asked for: the endpoint asks for it once."""
        return self.pattern, tuple(self.channels), self.filter

    def clean(self) -> None:
        """Raise ValidationError where it asks for the same as another, or what it cannot have."""
        # A form with a fault elsewhere may have no endpoint, or one without a subscriber.
        subscriber = getattr(getattr(self, "endpoint", None), "subscriber", None)
        if subscriber is not None and self._state.adding:
            check_offered([self.pattern], subscriber)
        same = Subscription.objects.filter(
            endpoint=self.endpoint_id,
            pattern=self.pattern,
            channels=self.channels,
            filter=self.filter,
        )
        if same.exclude(pk=self.pk).exists():
            raise ValidationError("The endpoint has such a subscription already.")

    def forget_failures(self) -> None:
        """Begin to count anew, for the caller to save: the filter is another."""
        self.filter_failures, self.filter_failed_at, self.filter_error = 0, None, ""


def check_offered(patterns: Iterable[str], subscriber: Subscriber) -> None:
    """Raise ValidationError where one names an event type that the subscriber cannot have.

    One that is for others is answered as one that is not in the catalogue.
    """
    names = [pattern for pattern in patterns if not pattern.endswith("*")]
    flags = dict(EventType.objects.filter(name__in=names).values_list("name", "feature_flag"))
    known_alone = part(SubscriptionSettings).unknown_event_types == "refuse"
    for name in names:
        if subscriber.operator and name in OPERATIONAL_TYPES:
            continue
        flag = flags.get(name)
        if (flag is None and known_alone) or (flag and flag not in subscriber.feature_flags):
            raise ValidationError(
                f"There is no event type {name}: choose one of the catalogue.",
                code="no_such_event_type",
            )


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
