import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.contrib.staticfiles import finders
from django.core.management import call_command
from rest_framework.test import APIClient


def operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]


def test_the_openapi_document_is_valid_and_comes_without_a_warning(tmp_path: Path) -> None:
    document = tmp_path / "openapi.yaml"
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(document))
    assert document.read_text().startswith("openapi: 3")


def test_every_operation_says_what_it_does_and_how_it_can_end(schema: dict[str, Any]) -> None:
    for path, method, operation in operations(schema):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["security"] == [{"ApiKey": []}], where
        statuses = set(operation["responses"])
        assert statuses & {"200", "201", "202", "204"}, where
        assert {"400", "401", "403", "429"} <= statuses, where
        assert re.search("Takes the scope `(emit|read|manage)`", operation["description"]), where
        assert ("{" in path) <= ("404" in statuses), where
        assert (method != "get") <= ({"413", "415"} <= statuses), where
        assert ("requestBody" in operation) <= ("409" in statuses), where


def test_the_scheme_of_the_key_is_described(schema: dict[str, Any]) -> None:
    scheme = schema["components"]["securitySchemes"]["ApiKey"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


def test_ids_are_described_as_they_are_written(schema: dict[str, Any]) -> None:
    text = str(schema)
    assert "UUID" not in text
    assert "'uuid'" not in text


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attributes if name in ("src", "href") and value]


def test_the_documentation_comes_from_here_alone() -> None:
    page = APIClient().get("/api/docs/")
    assert page.status_code == 200
    text = page.content.decode()
    assert not re.search(r"(https?:)?//[\w-]+\.", text)
    links = Links()
    links.feed(text)
    assert links.found
    *files, script = links.found
    assert script == "/api/docs/?script="
    for link in files:
        assert urlsplit(link).netloc == ""
        assert finders.find(link.removeprefix("/static/")), link


def test_the_documentation_finds_its_document() -> None:
    text = APIClient().get("/api/docs/?script=").content.decode()
    assert '"/api/schema/"' in text.replace("\\u002D", "-").replace("\\u002F", "/")
