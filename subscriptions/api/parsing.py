"""Request bodies: JSON, and nothing that cannot be stored or sent on."""

import json
from collections.abc import Iterable, Mapping
from typing import IO, Any

from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

MAX_BODY_BYTES = 1024 * 1024
MAX_DEPTH = 64


class BodyTooLarge(APIException):
    status_code = 413
    default_detail = f"The body is too large: {MAX_BODY_BYTES} bytes are the limit."
    default_code = "body_too_large"


class StrictJSONParser(BaseParser):
    """JSON as RFC 8259 has it: UTF-8, no NaN, no lone surrogates; bounded in size and depth."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = stream.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge
        try:
            document = json.loads(body.decode())
            if not _is_deeper_than(MAX_DEPTH, document):
                # Python reads more than it can write: NaN, 1e999, "\ud800".
                json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
                return document
        except RecursionError:
            pass
        except ValueError as error:
            raise ParseError(f"The body is not valid JSON: {error}") from error
        raise ParseError(f"The body is nested too deeply: {MAX_DEPTH} levels are the limit.")


def _is_deeper_than(limit: int, document: Any) -> bool:
    level = _containers([document])
    for _ in range(limit):
        level = _containers(
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
        )
    return bool(level)


def _containers(values: Iterable[Any]) -> list[dict[str, Any] | list[Any]]:
    return [value for value in values if isinstance(value, (dict, list))]
