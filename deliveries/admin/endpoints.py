"""Endpoints that are sent test events, and lead to their deliveries."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods

from deliveries.admin.display import deliveries_of, readable
from deliveries.admin.endpoint_health import health_of
from deliveries.admin.json_tree import json_tree
from deliveries.testing import NotTestable, TooManyTests, send_test_event
from subscriptions.admin.endpoints import EndpointAdmin
from subscriptions.models import Endpoint

admin.site.unregister(Endpoint)


@admin.register(Endpoint)
class DeliveringEndpointAdmin(EndpointAdmin):
    """An endpoint that is also sent test events, and leads to its deliveries."""

    change_form_template = "admin/subscriptions/endpoint/change_form.html"
    list_display = [*EndpointAdmin.list_display, "deliveries"]
    facts = [*EndpointAdmin.facts, "deliveries"]
    facts_of_a_feed = [*EndpointAdmin.facts_of_a_feed, "deliveries"]

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.test_view)
        return [
            path("<path:object_id>/test/", page, name="subscriptions_endpoint_test"),
            *super().get_urls(),
        ]

    def more_of(self, request: HttpRequest, row: Endpoint) -> dict[str, Any]:
        may_see = request.user.has_perm("deliveries.view_attempt")
        return {"fared": health_of(row)} if may_see and not row.is_feed else {}

    @admin.display
    def deliveries(self, endpoint: Endpoint) -> SafeString:
        return deliveries_of(endpoint.pk, "deliveries")

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def test_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A page that sends a test event, and shows it with its answer."""
        with transaction.atomic():
            endpoint = self.get_object(request, unquote(object_id))
        if endpoint is None or endpoint.is_feed:
            raise Http404
        if not self.has_change_permission(request, endpoint):
            raise PermissionDenied
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": "Test event",
            "opts": self.opts,
            "media": self.media,
            "original": endpoint,
            "endpoint": endpoint,
        }
        if request.method == "POST":
            try:
                context["exchange"] = exchange = send_test_event(endpoint)
                context["request_headers"] = readable(exchange.request_headers)
                context["response_headers"] = readable(exchange.response_headers)
                context["request_body"] = json_tree(exchange.request_body)
                context["response_body"] = json_tree(exchange.outcome.response_body)
            except (NotTestable, TooManyTests) as error:
                self.message_user(request, str(error), messages.ERROR)
        return TemplateResponse(request, "admin/subscriptions/endpoint/test_event.html", context)
