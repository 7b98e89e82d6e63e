"""What machines ask of a web process: /healthz, /readyz and /metrics.

They come by address and without TLS, past the proxy in front. So they are answered before anything
looks at the host or at how they came.
"""

from collections.abc import Callable, Mapping
from functools import cache

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse

from deliveries import bell
from deliveries.metrics.views import metrics

Answer = Callable[[HttpRequest], HttpResponse]


class NotMigrated(Exception):
    """The database lacks migrations that this code needs."""


def healthz(_: HttpRequest) -> HttpResponse:
    """The process answers; it asks nobody else, whose fault a restart would not mend."""
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(_: HttpRequest) -> HttpResponse:
    """200 if requests can be served: the database is there and migrated; 503 if not.

    The broker is told of, but decides nothing: without it emit() works, and the sweeps deliver
    once it is back.
    """
    parts = {"broker": "away" if bell.waiting() is None else "ok"}
    try:
        _ask_database()
        _ask_for_migrations()
        parts |= {"database": "ok", "migrations": "ok"}
    except NotMigrated:
        parts |= {"database": "ok", "migrations": "missing"}
    except Error:
        parts |= {"database": "away"}
    ready = parts.get("migrations") == "ok"
    return JsonResponse(parts, status=200 if ready else 503)


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@cache  # once all are there none goes missing; what is raised is not kept
def _ask_for_migrations() -> None:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise NotMigrated


PROBES: Mapping[str, Answer] = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}


class Probes:
    """Answers them, and lets all else pass."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return PROBES.get(request.path_info, self.get_response)(request)
