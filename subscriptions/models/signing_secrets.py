"""Signing secrets: what deliveries are signed with."""

from datetime import timedelta

from django.db import models, transaction
from django.db.models.functions import Now
from django.utils import timezone

from subscriptions import encryption
from subscriptions.conf import SubscriptionSettings, part
from subscriptions.dropping import drop_some
from subscriptions.ids import IdField
from subscriptions.models.endpoints import Endpoint
from webhooks.confidential import Confidential
from webhooks.keys import Kind, generate_secret
from webhooks.profiles import key_of


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
        return drop_some(self.filter(expires_at__lte=Now()).order_by("expires_at"), limit)

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
