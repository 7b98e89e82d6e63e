"""A Django view that takes in webhooks: verified, handled once, acknowledged when handled."""

import logging
import zlib
from collections.abc import Callable, Sequence
from functools import wraps

from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from webhooks import signing
from webhooks.handshake import HANDSHAKE_TYPE, NoChallenge, challenge_in
from webhooks.receiving.handlers import Handler
from webhooks.receiving.messages import NotAnEvent, read
from webhooks.receiving.models import ReceivedMessage

Secrets = str | Sequence[str]
View = Callable[[HttpRequest], HttpResponse]

MAX_BYTES = 1024 * 1024

logger = logging.getLogger(__name__)


class NoBody(Exception):
    """A request whose body is not taken in; `status` says so to its sender."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def webhook(
    *,
    secrets: Secrets | Callable[[], Secrets],
    source: str = "angarium",
    tolerance: int = signing.TOLERANCE,
    max_bytes: int = MAX_BYTES,
) -> Callable[[Handler], View]:
    """Turn a handler of messages into a view to which a sender may POST.

    `secrets` are the signing secrets that count (`whsec_…`, or the `whpk_…` of an Ed25519 one), or
    a function that gives them for each request; give both during a rotation. `source` tells
    senders apart whose ids might be alike.

    The view answers 204 once the handler has returned; a message that has been handled before is
    acknowledged without calling it again. The record of the message and what the handler writes
    are one transaction: where the handler raises, neither is kept, the answer is 500, and the
    sender tries again. The handler is called for each event of a batch, all in one transaction, and
    not for the challenge of a handshake, which the view answers by itself.
    Answers 401 to what is not verified, 400 to what is no event, 411 to a body in chunks, of which
    WSGI tells Django nothing, 413 to more than `max_bytes`, compressed or not, and 415 to another
    compression than gzip.
    """

    # On its own: where the handler fails, the secrets are not among what a traceback could show.
    def verify(request: HttpRequest, body: bytes) -> signing.VerifiedMessage:
        accepted = secrets() if callable(secrets) else secrets
        return signing.verify(request.headers, body, accepted, tolerance=tolerance)

    def decorate(handler: Handler) -> View:
        @csrf_exempt
        @require_POST
        @wraps(handler)
        def view(request: HttpRequest) -> HttpResponse:
            try:
                messages = read(verify(request, _body(request, max_bytes)))
                if messages and messages[0].type == HANDSHAKE_TYPE:
                    return JsonResponse({"challenge": challenge_in(messages[0].data)})
            except NoBody as error:
                return _refusal(error.status, str(error))
            except signing.VerificationFailed as error:
                logger.warning("%s: refused a webhook: %s", source, error)
                return _refusal(401, "The webhook is not verified.")
            except (NotAnEvent, NoChallenge) as error:
                return _refusal(400, str(error))
            try:
                with transaction.atomic():
                    for message in messages:
                        if _is_first(source, message.id):
                            handler(message)
            except Exception:
                logger.exception("%s: the handler failed on %s", source, message.id)
                return _refusal(500, "The handler failed; send it again.")
            return HttpResponse(status=204)

        return view

    return decorate


def _body(request: HttpRequest, max_bytes: int) -> bytes:
    """The request's body, of which no more is read than may be. Raises NoBody."""
    length = request.headers.get("content-length")
    try:
        declared = int(length or 0)
    except ValueError:
        declared = 0  # as Django itself takes it; no signature fits
    try:
        body = b"" if declared > max_bytes else request.read(max_bytes + 1)
    except UnreadablePostError as error:
        raise NoBody(400, "The body ends too early.") from error
    if max(declared, len(body)) > max_bytes:
        raise NoBody(413, f"The body has more than {max_bytes} bytes.")
    if not length and not body:
        raise NoBody(411, "Send the body whole, with its Content-Length.")
    return _decompressed(body, request.headers.get("content-encoding", ""), max_bytes)


def _decompressed(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """What was signed, of which no more is unpacked than may be. Raises NoBody."""
    if encoding.strip().lower() in ("", "identity"):
        return body
    if encoding.strip().lower() not in ("gzip", "x-gzip"):
        raise NoBody(415, "Compress the body by gzip, or not at all.")
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        unpacked = stream.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise NoBody(400, "The body is not in gzip.") from error
    if len(unpacked) > max_bytes:
        raise NoBody(413, f"The body has more than {max_bytes} bytes.")
    if not stream.eof or stream.unused_data:
        raise NoBody(400, "The body is not one whole gzip stream.")
    return unpacked


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
