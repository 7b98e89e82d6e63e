"""What Django's error pages and error mails leave out."""

import re
from collections.abc import ItemsView, Mapping
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.template.defaultfilters import pprint
from django.views.debug import SafeExceptionReporterFilter

SIGNING_SECRET = re.compile(r"wh(sec|sk)_[A-Za-z0-9+/]{8}")

# As of the database, the broker and the egress proxy.
CREDENTIALS_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")

# What variables, fields and form inputs are called that hold an endpoint's credentials, or
# somebody's password: these secrets can be any text.
TELLING_NAME = re.compile(
    r"auth|credential|header|password|secret|token|(?:^|_)(?:key|value|text)$", re.IGNORECASE
)

MAX_DEPTH = 16
"""Of what is shown: some variables contain themselves."""


class SecretFilter(SafeExceptionReporterFilter):
    """Blanks what a signing secret, an endpoint's credentials or the password in a URL can be read
    from, in DEBUG too.

    Wants a place in DEFAULT_EXCEPTION_REPORTER_FILTER.
    """

    def cleanse_setting(self, key: str | int, value: Any) -> Any:
        cleansed = super().cleanse_setting(key, value)
        if isinstance(cleansed, str):
            return CREDENTIALS_IN_URL.sub(self.cleansed_substitute, cleansed)
        return cleansed

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        given = super().get_post_parameters(request)
        return {name: self._without_secrets(name, value) for name, value in given.items()}

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> ItemsView[str, Any]:
        return {
            name: self._without_secrets(name, value)
            for name, value in super().get_traceback_frame_variables(request, tb_frame)
        }.items()

    def _without_secrets(self, name: object, value: Any, depth: int = 0) -> Any:
        """What may be shown of a variable, or of a member of one."""
        telling = isinstance(name, str) and TELLING_NAME.search(name)
        if telling or depth > MAX_DEPTH:
            return self.cleansed_substitute
        if isinstance(value, Mapping):
            return {one: self._without_secrets(one, value[one], depth + 1) for one in value}
        if isinstance(value, (list, tuple)):
            return [self._without_secrets("", one, depth + 1) for one in value]
        return self.cleansed_substitute if _tells_a_secret(pprint(value)) else value


def _tells_a_secret(text: str) -> bool:
    return bool(SIGNING_SECRET.search(text) or CREDENTIALS_IN_URL.search(text))
