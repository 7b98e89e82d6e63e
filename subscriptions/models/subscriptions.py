"""Subscriptions: which events an endpoint asks for."""

from collections.abc import Iterable

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models

from subscriptions.channels import MAX_CHANNELS, InvalidChannels, normalized
from subscriptions.channels import MAX_LENGTH as MAX_CHANNEL_LENGTH
from subscriptions.conf import SubscriptionSettings, part
from subscriptions.event_types import (
    MAX_LENGTH,
    SUBSCRIPTION_PATTERN,
)
from subscriptions.expressions import MAX_BYTES, Expression, InvalidExpression
from subscriptions.ids import IdField
from subscriptions.models.endpoints import Endpoint
from subscriptions.models.event_types import EventType
from subscriptions.models.subscribers import Subscriber
from subscriptions.operational import OPERATIONAL_TYPES

well_formed_pattern = RegexValidator(
    SUBSCRIPTION_PATTERN, "Use an event type (invoice.paid), all below one (invoice.*), or all (*)."
)


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
