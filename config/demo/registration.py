"""Registering the receivers through the REST API, as a producer's own code would."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import requests

from config.demo.cast import Receiver


class ApiRefused(Exception):
    """The API did not take a request; the message has its answer."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A receiver that has become an endpoint."""

    receiver: Receiver
    endpoint: str
    secret: str


class Api:
    """A producer's view of the API."""

    def __init__(self, root: str, key: str) -> None:
        self.root = root
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy stands between us and 127.0.0.1
        self.session.headers["Authorization"] = f"Bearer {key}"

    def post(self, path: str, body: dict[str, Any]) -> Any:
        try:
            response = self.session.post(f"{self.root}/{path}", json=body, timeout=30)
        except requests.RequestException as error:
            raise ApiRefused(f"POST {path} was not answered: {error}") from error
        if not response.ok:
            raise ApiRefused(
                f"POST {path} {json.dumps(body)} was answered with {response.status_code}: "
                f"{response.text[:500]}"
            )
        return response.json()


def register_event_types(api: Api, names: Iterable[str]) -> None:
    for name in sorted(names):
        api.post("event-types/", {"name": name})


def register(api: Api, receiver: Receiver, url: str) -> Registration:
    """Make a subscriber with one endpoint; the API chooses the signing secret."""
    subscriber = api.post("subscribers/", {"name": receiver.name.capitalize()})
    endpoint = api.post(
        "endpoints/",
        {
            "subscriber": subscriber["id"],
            "url": url,
            "description": receiver.temper,
            "subscriptions": list(receiver.patterns),
        },
    )
    return Registration(receiver, endpoint["id"], endpoint["secret"])
