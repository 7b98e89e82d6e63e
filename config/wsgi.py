"""The web server's way in: the API and the admin."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.core.wsgi import get_wsgi_application
from django.utils.http import parse_header_parameters

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


def in_utf8(application: "WSGIApplication") -> "WSGIApplication":
    """Take the charset from each request's Content-Type: all that is read here is UTF-8.

    Django would decode the query string with it before any of its own error handling, and fall over
    codecs that Python knows but that are not for text.
    """

    def application_in_utf8(
        environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        try:
            kind, parameters = parse_header_parameters(environ.get("CONTENT_TYPE", ""))
        except ValueError:
            kind, parameters = "", {}
        boundary = parameters.get("boundary")
        environ["CONTENT_TYPE"] = f'{kind}; boundary="{boundary}"' if boundary else kind
        return application(environ, start_response)

    return application_in_utf8


application = in_utf8(get_wsgi_application())
