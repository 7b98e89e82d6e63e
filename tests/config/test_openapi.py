"""The OpenAPI document is for everybody, and costs and tells nobody more than it should."""

from typing import Any

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from config import openapi

SCHEMA = "/api/schema/"


def test_it_is_written_once_whatever_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    write, times = SchemaGenerator.get_schema, []

    def counted(*given: Any, **options: Any) -> Any:
        times.append(1)
        return write(*given, **options)

    openapi.document.cache_clear()
    monkeypatch.setattr(SchemaGenerator, "get_schema", counted)
    answers = {Client().get(f"{SCHEMA}?lang={lang}").content for lang in ("fr", "de", "en", "zz")}
    assert len(answers) == len(times) == 1


@pytest.mark.parametrize(
    "query", ["version=%0aX-Injected:y", "version=%22;x", "lang=%00", "lang=%0a"]
)
def test_nothing_of_the_query_is_in_its_headers(query: str) -> None:
    answer = Client().get(f"{SCHEMA}?{query}")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"] == 'inline; filename="Angarium (1).yaml"'
