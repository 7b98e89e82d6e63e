"""Where the admin, the portal, the API and its documentation are."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularSwaggerSplitView

from config import failures
from config.openapi import OpenApiView

handler400, handler404, handler500 = failures.bad_request, failures.not_found, failures.server_error

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("portal/", include("deliveries.portal.urls")),
    path("api/v1/", include("subscriptions.api.urls")),
    path("api/v1/", include("deliveries.api.urls")),
    path("api/schema/", OpenApiView.as_view(), name="schema"),
    path(
        "api/docs/",
        SpectacularSwaggerSplitView.as_view(
            url_name="schema", template_name="config/api_docs.html"
        ),
        name="docs",
    ),
]
