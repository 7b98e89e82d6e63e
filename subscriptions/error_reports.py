"""What Django's error pages and error mails leave out."""

import re
from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.template.defaultfilters import pprint
from django.views.debug import SafeExceptionReporterFilter

SIGNING_SECRET = re.compile(r"wh(sec|sk)_[A-Za-z0-9+/]{8}")


class SecretFilter(SafeExceptionReporterFilter):
    """Blanks the variables that a signing secret can be read from, in DEBUG too.

    Wants a place in DEFAULT_EXCEPTION_REPORTER_FILTER.
    """

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> ItemsView[str, Any]:
        return {
            name: self.cleansed_substitute if SIGNING_SECRET.search(pprint(value)) else value
            for name, value in super().get_traceback_frame_variables(request, tb_frame)
        }.items()
