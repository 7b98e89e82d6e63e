"""The OpenAPI document as it is served: written once in each process.

Anybody may ask for it, as often as they like, and to write it takes longer than any other answer.
"""

from functools import cache
from typing import Any

from django.conf import settings
from django.utils import translation
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularAPIView


@cache
def document() -> dict[str, Any]:
    with translation.override(settings.LANGUAGE_CODE):
        written: dict[str, Any] = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    return written


class WrittenOnce(SchemaGenerator):
    def get_schema(self, *_: Any, **__: Any) -> dict[str, Any]:
        return document()


class OpenApiView(SpectacularAPIView):
    generator_class = WrittenOnce
    # Otherwise it would be taken from the query, and repeated in a header.
    api_version = str(settings.SPECTACULAR_SETTINGS["VERSION"])
