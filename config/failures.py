"""What fails outside of any view: JSON for the API's callers, Django's pages for everybody else."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

from subscriptions.api.errors import with_request_id


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _json(request, 400, "This is no proper request.") or defaults.bad_request(
        request, exception
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _json(request, 404, "There is no such address.") or defaults.page_not_found(
        request, exception
    )


def server_error(request: HttpRequest) -> HttpResponse:
    return _json(request, 500, "This is a fault of ours.") or defaults.server_error(request)


def _json(request: HttpRequest, status: int, detail: str) -> HttpResponse | None:
    if not request.path_info.startswith("/api/"):
        return None
    return JsonResponse(with_request_id({"detail": detail}), status=status)
