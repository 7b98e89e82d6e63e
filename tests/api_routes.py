"""Every route of the API, out of the URL conf, for tests that walk all of them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver

from config import urls

API = "/api/v1/"


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    template: str
    view: Any
    action: str

    def __str__(self) -> str:
        return f"{self.method} {self.template}"

    @property
    def is_detail(self) -> bool:
        return "{}" in self.template

    @property
    def writes(self) -> bool:
        return self.method != "get"

    def path(self, key: str = "x") -> str:
        return self.template.format(key)


def _walk(patterns: list[Any], prefix: str) -> Iterator[tuple[str, URLPattern]]:
    for one in patterns:
        path = prefix + re.sub(r"\(\?P<\w+>[^)]*\)", "{}", str(one.pattern))
        if isinstance(one, URLResolver):
            yield from _walk(one.url_patterns, path)
        else:
            yield path.replace("^", "").replace("/?$", "/"), one


ROUTES = [
    Route(method, path, view.callback.cls, action)
    for path, view in _walk(urls.urlpatterns, "/")
    if path.startswith(API)
    for method, action in view.callback.actions.items()
    if method in view.callback.cls.http_method_names
]
