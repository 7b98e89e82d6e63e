"""Who may enter the portal: links that open it once, and the sessions that they open.

A link has the id of the session that it will open, signed: whoever follows it a second time asks
for a row that is there already. So a link costs no row of its own, and none to be dropped.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Self

from django.core import signing
from django.db import IntegrityError, models, transaction
from django.db.models.functions import Now
from django.utils import timezone

from subscriptions.dropping import drop_some
from subscriptions.ids import IdField, new_id

if TYPE_CHECKING:
    from subscriptions.models import Subscriber

LINK_SALT = "subscriptions.portal_access.link"
USED = "This link has been used: it opens the portal once."


class LinkRefused(Exception):
    """A link that opens nothing; the message says why."""


class PortalSessionQuerySet(models.QuerySet["PortalSession"]):
    def open(self) -> Self:
        """Those that let in; not those of a subscriber that is being erased."""
        return self.filter(ended_at=None, expires_at__gt=Now(), subscriber__erasing_since=None)

    def end(self) -> int:
        """End those that are open, at once. Returns how many."""
        return self.open().update(ended_at=Now())

    def drop_expired(self, limit: int) -> int:
        """Delete some of those that are over. Returns how many."""
        return drop_some(self.filter(expires_at__lte=Now()).order_by("expires_at"), limit)

    def enter(self, link: str, *, link_age: float, session_age: float) -> "PortalSession":
        """Open the session that a link is for. The ages are in seconds. Raises LinkRefused."""
        session, subscriber = _read(link, link_age)
        expires_at = timezone.now() + timedelta(seconds=session_age)
        try:
            with transaction.atomic():
                return self.create(pk=session, subscriber_id=subscriber, expires_at=expires_at)
        except IntegrityError as error:
            if "portal_session_is_a_subscriber_s" in str(error):
                raise LinkRefused("This link is for a subscriber that is gone.") from error
            raise LinkRefused(USED) from error

    def look_at(self, link: str, *, link_age: float) -> None:
        """Raise LinkRefused where a link opens nothing any more, as far as can be told before."""
        session, _ = _read(link, link_age)
        if self.filter(pk=session).exists():
            raise LinkRefused(USED)


def _read(link: str, link_age: float) -> tuple[str, str]:
    """The session that a link is for, and whose."""
    try:
        session, subscriber = signing.loads(
            link, salt=LINK_SALT, max_age=timedelta(seconds=link_age)
        )
    except signing.SignatureExpired as error:
        raise LinkRefused("This link has expired.") from error
    except signing.BadSignature as error:
        raise LinkRefused("This is no link to the portal.") from error
    return session, subscriber


class PortalSession(models.Model):
    """A subscriber's visit to the portal, from one browser."""

    id = IdField(prefix="psn")
    # The database deletes it with its subscriber, however that is deleted.
    subscriber = models.ForeignKey(
        "subscriptions.Subscriber",
        models.CASCADE,
        related_name="portal_sessions",
        db_constraint=False,
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, help_text="When it was ended before it expired.")

    objects = PortalSessionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        default_permissions = ()
        indexes = [models.Index(name="portal_session_expired", fields=["expires_at"])]

    def __str__(self) -> str:
        return self.pk


def sign_link(subscriber: "Subscriber") -> str:
    """What opens one session for the subscriber; how long it is good, `enter` says."""
    return signing.dumps([new_id("psn"), subscriber.pk], salt=LINK_SALT)
