"""Feeds: endpoints without a URL, which are fetched."""

from django.db import models, transaction

from subscriptions.models.endpoints import Endpoint
from subscriptions.models.subscribers import Subscriber


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
