"""What Django's error pages and error mails leave out."""

import re
from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.template.defaultfilters import pprint
from django.views.debug import SafeExceptionReporterFilter

SIGNING_SECRET = re.compile(r"wh(sec|sk)_[A-Za-z0-9+/]{8}")

# As of the database, the broker and the egress proxy.
CREDENTIALS_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")


class SecretFilter(SafeExceptionReporterFilter):
    """Blanks what a signing secret or the password in a URL can be read from, in DEBUG too.

    Wants a place in DEFAULT_EXCEPTION_REPORTER_FILTER.
    """

    def cleanse_setting(self, key: str | int, value: Any) -> Any:
        cleansed = super().cleanse_setting(key, value)
        if isinstance(cleansed, str):
            return CREDENTIALS_IN_URL.sub(self.cleansed_substitute, cleansed)
        return cleansed

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> ItemsView[str, Any]:
        return {
            name: self.cleansed_substitute if _tells_a_secret(pprint(value)) else value
            for name, value in super().get_traceback_frame_variables(request, tb_frame)
        }.items()


def _tells_a_secret(text: str) -> bool:
    return bool(SIGNING_SECRET.search(text) or CREDENTIALS_IN_URL.search(text))
