"""Rows on their way out, in bounded memory: page by page, as lines of JSON or as CSV."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from subscriptions import replica

Row = Mapping[str, Any]
Look = Callable[[QuerySet[Any, Any]], list[Any]]

PAGE = 500
"""So many rows are in memory at a time."""

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV Injection)."""


def pages(rows: QuerySet[Any, Any], look: Look = list) -> Iterator[list[Any]]:
    """Read `rows` by their primary key, each page in a query of its own.

    No cursor and no transaction stays open however slowly the other side reads.
    """
    ordered = rows.order_by("pk")
    following = ordered
    while found := look(following[:PAGE]):
        yield found
        if len(found) < PAGE:
            break
        last = found[-1]
        following = ordered.filter(pk__gt=last["pk"] if isinstance(last, dict) else last.pk)


def pages_to_show(rows: QuerySet[Any, Any]) -> Iterator[list[Any]]:
    """The same for those who only look, and change nothing by what they see."""
    return pages(rows, look=lambda page: replica.read(page, list))


def json_lines(rows: Iterable[Row]) -> Iterator[str]:
    """One JSON object a line (NDJSON)."""
    for row in rows:
        yield json.dumps(row, cls=DjangoJSONEncoder, ensure_ascii=False) + "\n"


def csv_lines(columns: Iterable[str], rows: Iterable[Row]) -> Iterator[str]:
    """RFC 4180, with a header; no cell is a formula to the spreadsheet that opens it."""
    names = list(columns)
    line = _Line()
    writer = csv.writer(line)
    writer.writerow(names)
    yield line.text
    for row in rows:
        writer.writerow([_cell(row[name]) for name in names])
        yield line.text


def _cell(value: Any) -> str:
    if value is None:
        return ""
    plain = DjangoJSONEncoder().default(value) if hasattr(value, "isoformat") else value
    text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    return f"'{text}" if text.startswith(FORMULA) else text


def download(lines: Iterator[str], name: str, content_type: str) -> StreamingHttpResponse:
    """A file to be saved, sent while it is read."""
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(lines, content_type=content_type, headers=disposition)


class _Line:
    """What the csv module writes to: keeps the last line."""

    text = ""

    def write(self, text: str) -> None:
        self.text = text
