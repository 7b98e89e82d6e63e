"""Angarium's API, a method for each thing that one asks of it."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, Unpack, cast
from uuid import uuid4

from angarium_client.shapes import (
    ChangedEndpoint,
    DeadLetter,
    DeadLetterJob,
    Delivery,
    DeliveryDetail,
    Endpoint,
    Event,
    EventDetail,
    Exchange,
    Explanation,
    NewEndpoint,
    NewReplay,
    Replay,
    ReplayCount,
    SigningSecret,
    Subscriber,
)
from angarium_client.transport import Transport, given


class Angarium:
    """The API at `url` (https://webhooks.example.com), as whoever has the API key `key`.

    Lists are iterators, which fetch the next page when somebody asks for more. Every method raises
    errors.Refused, or a subclass of it that says why, and errors.Unreachable where no answer comes.
    What does no more when it is sent twice, emit() too, is repeated for some seconds before that.
    """

    def __init__(self, url: str, key: str) -> None:
        self._api = Transport(url, key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._api.close()

    # Events

    def emit(
        self,
        type: str,
        data: Any,
        *,
        subscriber: str | None = None,
        channels: Iterable[str] | None = None,
        ordering_key: str | None = None,
        idempotency_key: str | None = None,
        occurred_at: datetime | None = None,
    ) -> Event:
        """Emit an event: every endpoint that asked for such gets it.

        Sent again with the same `idempotency_key` it makes no second event; where none is given,
        one is made up, so that this call may be repeated while the server is away.
        """
        body = {
            "type": type,
            "data": data,
            "subscriber": subscriber,
            "channels": None if channels is None else list(channels),
            "ordering_key": ordering_key,
            "occurred_at": None if occurred_at is None else occurred_at.isoformat(),
        }
        given = {name: value for name, value in body.items() if value is not None or name == "data"}
        key = {"Idempotency-Key": idempotency_key or str(uuid4())}
        return cast("Event", self._api.post("events/", given, headers=key, repeat=True))

    def events(self, *, type: str | None = None, subscriber: str | None = None) -> Iterator[Event]:
        """Newest first."""
        return self._api.pages("events/", {"type": type, "subscriber": subscriber})

    def event(self, id: str) -> EventDetail:
        """An event, its data, and how its deliveries fare."""
        return cast("EventDetail", self._api.get(f"events/{id}/"))

    # Deliveries

    def deliveries(
        self,
        *,
        event: str | None = None,
        endpoint: str | None = None,
        subscriber: str | None = None,
        state: str | None = None,
        page_size: int | None = None,
    ) -> Iterator[Delivery]:
        """Newest first."""
        wanted = {
            "event": event,
            "endpoint": endpoint,
            "subscriber": subscriber,
            "state": state,
            "page_size": page_size,
        }
        return self._api.pages("deliveries/", wanted)

    def delivery(self, id: str) -> DeliveryDetail:
        """A delivery and the attempts at it."""
        return cast("DeliveryDetail", self._api.get(f"deliveries/{id}/"))

    def retry(self, id: str) -> DeliveryDetail:
        """Try a waiting delivery at once, or redrive a dead one. Raises Conflict for others."""
        return cast("DeliveryDetail", self._api.post(f"deliveries/{id}/retry/"))

    def discard(self, id: str) -> DeliveryDetail:
        """Give a delivery up. Raises Conflict where it is being sent, or has ended."""
        return cast("DeliveryDetail", self._api.post(f"deliveries/{id}/discard/"))

    def explain(self, event: str, endpoint: str) -> Explanation:
        """Why an event was delivered to an endpoint, or was not, and what happens next."""
        path = f"events/{event}/explain/"
        return cast("Explanation", self._api.get(path, {"endpoint": endpoint}))

    # Dead letters

    def dead_letters(
        self,
        *,
        endpoint: str | None = None,
        subscriber: str | None = None,
        event_type: str | None = None,
        reason: str | None = None,
        died_after: datetime | str | None = None,
        died_before: datetime | str | None = None,
        resolution: str | None = None,
    ) -> Iterator[DeadLetter]:
        """Newest first; the open ones, unless another resolution is asked for."""
        wanted = {
            "endpoint": endpoint,
            "subscriber": subscriber,
            "event_type": event_type,
            "reason": reason,
            "died_after": died_after,
            "died_before": died_before,
            "resolution": resolution,
        }
        return self._api.pages("dead-letters/", wanted)

    def export_dead_letters(self, format: str = "ndjson", **wanted: Any) -> Iterator[bytes]:
        """All that `dead_letters` would list, each with its event's data, oldest first.

        The bytes of a file, "ndjson" or "csv", as they come.
        """
        return self._api.download("dead-letters/export/", {"format": format, **wanted})

    def redrive(self, **selection: Any) -> DeadLetterJob:
        """Redrive all open dead letters that are meant: by `endpoint`, `subscriber`, `event_type`,
        `reason`, `died_after`, `died_before` or `ids`; with dry_run=True count them.

        Of many some are done when it returns, and the rest follows: see `dead_letter_job`.
        """
        return cast("DeadLetterJob", self._api.post("dead-letters/redrive/", given(selection)))

    def discard_dead_letters(self, **selection: Any) -> DeadLetterJob:
        """Discard all open dead letters that are meant, as for `redrive`."""
        return cast("DeadLetterJob", self._api.post("dead-letters/discard/", given(selection)))

    def dead_letter_jobs(self) -> Iterator[DeadLetterJob]:
        """The redrives and discards of many, newest first."""
        return self._api.pages("dead-letter-jobs/", {})

    def dead_letter_job(self, id: str) -> DeadLetterJob:
        """How far a redrive or discard of many has come; it is over when it has `ended_at`."""
        return cast("DeadLetterJob", self._api.get(f"dead-letter-jobs/{id}/"))

    # Replays

    def count_replay(self, **asked: Unpack[NewReplay]) -> ReplayCount:
        """How many `start_replay` would send; nothing is sent, and nothing kept."""
        return cast("ReplayCount", self._api.post("replays/dry-run/", given(asked), repeat=True))

    def start_replay(self, **asked: Unpack[NewReplay]) -> Replay:
        """Send an endpoint again what it was sent, or with kind="missed" what it never got.

        It is a job, which goes on by itself: see `replay`. Raises Conflict where the endpoint has
        one under way.
        """
        return cast("Replay", self._api.post("replays/", given(asked)))

    def replays(
        self,
        *,
        endpoint: str | None = None,
        subscriber: str | None = None,
        state: str | None = None,
    ) -> Iterator[Replay]:
        """Newest first."""
        wanted = {"endpoint": endpoint, "subscriber": subscriber, "state": state}
        return self._api.pages("replays/", wanted)

    def replay(self, id: str) -> Replay:
        """How far a replay has come; it is over when it has `ended_at`."""
        return cast("Replay", self._api.get(f"replays/{id}/"))

    def pause_replay(self, id: str) -> Replay:
        """Send nothing more until it is resumed. Raises Conflict where it is not running."""
        return cast("Replay", self._api.post(f"replays/{id}/pause/"))

    def resume_replay(self, id: str) -> Replay:
        """Go on where it was. Raises Conflict where it is not paused."""
        return cast("Replay", self._api.post(f"replays/{id}/resume/"))

    def cancel_replay(self, id: str) -> Replay:
        """For good; what is on its way is delivered. Raises Conflict where it has ended."""
        return cast("Replay", self._api.post(f"replays/{id}/cancel/"))

    def replay_delivery(self, id: str) -> DeliveryDetail:
        """Send a single delivery once more. Raises Conflict where it has not ended."""
        return cast("DeliveryDetail", self._api.post(f"deliveries/{id}/replay/"))

    # Subscribers and endpoints

    def subscribers(self, *, external_id: str | None = None) -> Iterator[Subscriber]:
        """Newest first."""
        return self._api.pages("subscribers/", {"external_id": external_id})

    def add_subscriber(self, name: str, **fields: Any) -> Subscriber:
        """Add a subscriber; `fields` are external_id, feature_flags, operator."""
        return cast("Subscriber", self._api.post("subscribers/", {"name": name, **fields}))

    def endpoints(
        self, *, subscriber: str | None = None, state: str | None = None
    ) -> Iterator[Endpoint]:
        """Newest first."""
        return self._api.pages("endpoints/", {"subscriber": subscriber, "state": state})

    def endpoint(self, id: str) -> Endpoint:
        return cast("Endpoint", self._api.get(f"endpoints/{id}/"))

    def add_endpoint(
        self, subscriber: str, url: str, subscriptions: Iterable[Any] = (), **fields: Any
    ) -> NewEndpoint:
        """Add an endpoint; the answer has its signing secret, this once.

        A subscription is a pattern (invoice.*), or a dict with `pattern`, `channels` and `filter`.
        `fields` are the rest of what the API takes.
        """
        body = {"subscriber": subscriber, "url": url, "subscriptions": list(subscriptions)}
        return cast("NewEndpoint", self._api.post("endpoints/", {**body, **fields}))

    def change_endpoint(self, id: str, changes: Mapping[str, Any]) -> ChangedEndpoint:
        return cast("ChangedEndpoint", self._api.patch(f"endpoints/{id}/", changes))

    def delete_endpoint(self, id: str) -> None:
        """Take it out of use; what it has not got is discarded."""
        self._api.delete(f"endpoints/{id}/")

    def pause(self, id: str) -> Endpoint:
        """Hold an endpoint's deliveries back."""
        return cast("Endpoint", self._api.post(f"endpoints/{id}/pause/"))

    def resume(self, id: str) -> Endpoint:
        """Deliver to an endpoint again, one that was disabled too."""
        return cast("Endpoint", self._api.post(f"endpoints/{id}/resume/"))

    def rotate_secret(self, id: str, **fields: Any) -> SigningSecret:
        """Give an endpoint a new signing secret; the one before signs too, for a while."""
        return cast("SigningSecret", self._api.post(f"endpoints/{id}/rotate-secret/", fields))

    def test(self, id: str) -> Exchange:
        """Send an endpoint a test event; request and answer."""
        return cast("Exchange", self._api.post(f"endpoints/{id}/test/"))
