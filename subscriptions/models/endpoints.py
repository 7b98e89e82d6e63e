"""Endpoints: where deliveries go, how they look there, and whether they may go now."""

from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models, transaction
from django.utils import timezone

from subscriptions import encryption
from subscriptions.authentication import Authentication
from subscriptions.conf import SubscriptionSettings, part
from subscriptions.credentials import EndpointCredentials, parse_credentials
from subscriptions.expressions import MAX_BYTES
from subscriptions.hidden_characters import refuse_hidden
from subscriptions.ids import IdField
from subscriptions.models.handshakes import Handshake
from subscriptions.models.subscribers import Subscriber
from subscriptions.rates import RATE_PATTERN
from subscriptions.shapes import InvalidShape, Payload, Shape
from webhooks.addresses import DEFAULT_PORTS, InvalidEndpointUrl, parse_url
from webhooks.formats import Format
from webhooks.keys import InvalidSecret
from webhooks.profiles import Profile, key_of
from webhooks.sending.headers import InvalidHeader

SIGNATURE_PROFILES = [
    (Profile.STANDARD.value, "Standard Webhooks"),
    (Profile.GITHUB.value, "GitHub's style beside it: X-Hub-Signature-256"),
    (Profile.STRIPE.value, "Stripe's style beside it: Stripe-Signature"),
    (Profile.SLACK.value, "Slack's style beside it: X-Slack-Signature"),
]


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
                self.require_handshake()

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
            self.require_handshake()

    def require_handshake(self) -> None:
        """Hold its deliveries until it has answered a challenge, which is due at once.

        One that is paused or disabled is challenged when it is resumed.
        """
        with transaction.atomic():
            if self.state == self.State.ACTIVE:
                self.state = self.State.UNVERIFIED
                self.save(update_fields=["state"])
            now = timezone.now()
            plan = {"required_at": now, "due_at": now, "tries": 0, "verified_at": None}
            self.handshake, _ = Handshake.objects.update_or_create(endpoint=self, defaults=plan)

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
            if self.state == self.State.FEED:
                self.feed.delete()
            self.state = self.State.DELETED
            self.credentials = self.credentials_shown = None
            self.save(update_fields=["state", "credentials", "credentials_shown"])
