"""A Django view that takes in webhooks: verified, handled once, acknowledged when handled."""

import logging
from collections.abc import Callable, Sequence
from functools import wraps

from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from webhooks import signing
from webhooks.receiving.handlers import Handler
from webhooks.receiving.messages import NotAnEvent, read
from webhooks.receiving.models import ReceivedMessage

Secrets = str | Sequence[str]
View = Callable[[HttpRequest], HttpResponse]

MAX_BYTES = 1024 * 1024

logger = logging.getLogger(__name__)


def webhook(
    *,
    secrets: Secrets | Callable[[], Secrets],
    source: str = "angarium",
    tolerance: int = signing.TOLERANCE,
    max_bytes: int = MAX_BYTES,
) -> Callable[[Handler], View]:
    """Turn a handler of messages into a view to which a sender may POST.

    `secrets` are the signing secrets that count, or a function that gives them for each request;
    give both during a rotation. `source` tells senders apart whose ids might be alike.

    The view answers 204 once the handler has returned; a message that has been handled before is
    acknowledged without calling it again. The record of the message and what the handler writes
    are one transaction: where the handler raises, neither is kept, the answer is 500, and the
    sender tries again. Answers 401 to what is not verified, 400 to what is no event, and 413 to
    more than `max_bytes`.
    """

    def decorate(handler: Handler) -> View:
        @csrf_exempt
        @require_POST
        @wraps(handler)
        def view(request: HttpRequest) -> HttpResponse:
            body = _body(request, max_bytes)
            if body is None:
                return _refusal(413, f"The body has more than {max_bytes} bytes.")
            try:
                verified = signing.verify(
                    request.headers,
                    body,
                    secrets() if callable(secrets) else secrets,
                    tolerance=tolerance,
                )
                message = read(verified)
            except signing.VerificationFailed as error:
                logger.warning("%s: refused a webhook: %s", source, error)
                return _refusal(401, "The webhook is not verified.")
            except NotAnEvent as error:
                return _refusal(400, str(error))
            try:
                with transaction.atomic():
                    if _is_first(source, message.id):
                        handler(message)
            except Exception:
                logger.exception("%s: the handler failed on %s", source, message.id)
                return _refusal(500, "The handler failed; send it again.")
            return HttpResponse(status=204)

        return view

    return decorate


def _body(request: HttpRequest, max_bytes: int) -> bytes | None:
    """The request's body, or None where there is too much of it to be read."""
    try:
        if int(request.headers.get("content-length") or 0) > max_bytes:
            return None
    except ValueError:
        return b""  # as Django itself takes it; no signature fits
    body = request.read(max_bytes + 1)
    return body if len(body) <= max_bytes else None


def _is_first(source: str, message_id: str) -> bool:
    """Record a message; say whether it was not there before.

    The database lets a second one that comes at the same time wait for the first one's end.
    """
    try:
        with transaction.atomic():
            ReceivedMessage.objects.create(source=source, message_id=message_id)
    except IntegrityError:
        return False
    return True


def _refusal(status: int, reason: str) -> HttpResponse:
    return JsonResponse({"error": reason}, status=status)
