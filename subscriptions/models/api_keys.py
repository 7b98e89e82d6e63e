"""Keys to the API, and what each may do."""

from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models.functions import Now
from django.utils import timezone
from rest_framework_api_key.models import AbstractAPIKey

from subscriptions.hidden_characters import refuse_hidden
from subscriptions.models.subscribers import Subscriber
from subscriptions.rates import RATE_PATTERN


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
        Subscriber,
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
