"""The receivers' endpoints. What a handler writes is kept only if it does not fail after all."""

import json
import os
import time
from collections import Counter
from threading import Lock

from django.urls import path

from config.demo.cast import RECEIVERS, Receiver
from config.demo.receivers.models import Arrival
from webhooks.receiving.messages import Message
from webhooks.receiving.views import View, webhook

SECRETS: dict[str, str] = json.loads(os.environ["RECEIVER_SECRETS"])


class NotNow(Exception):
    """A receiver fails as its temper demands."""


def endpoint(receiver: Receiver) -> View:
    calls: Counter[str] = Counter()
    counting = Lock()

    @webhook(secrets=SECRETS[receiver.name], source=receiver.name)
    def take(message: Message) -> None:
        Arrival.objects.create(
            receiver=receiver.name, event=message.id, type=message.type, data=message.data
        )
        time.sleep(receiver.delay)
        with counting:
            calls[message.id] += 1
        if calls[message.id] <= receiver.failures:
            raise NotNow

    return take


urlpatterns = [path(f"{receiver.name}/", endpoint(receiver)) for receiver in RECEIVERS]
