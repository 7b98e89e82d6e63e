"""The catalogue: event types one by one, and as a file."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from subscriptions import catalogue_file
from subscriptions.admin.base import LockingAdmin
from subscriptions.admin.event_type_forms import EventTypeForm, ImportForm
from subscriptions.history import HistoryEntry
from subscriptions.models import EventType


@admin.register(EventType)
class EventTypeAdmin(LockingAdmin):
    history_kind = HistoryEntry.Kind.EVENT_TYPE
    form = EventTypeForm
    list_display = ["name", "group", "description", "checked", "archived", "feature_flag"]
    list_filter = ["archived"]
    search_fields = ["name", "group", "description"]
    change_list_template = "admin/subscriptions/eventtype/change_list.html"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        said = ["name", "group", "description", "schema", "schema_check", "example"]
        offered = ["feature_flag", "archived"]
        if obj is None:
            return said + offered
        breaking = ["accept_breaking"] if self.has_change_permission(request, obj) else []
        return [*said[:4], *breaking, *said[4:], *offered, "created_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        # The name is the key: another name would be another event type.
        return [] if obj is None else ["name", "created_at"]

    @admin.display(description="data is checked")
    def checked(self, event_type: EventType) -> str:
        return "no schema" if event_type.schema is None else event_type.get_schema_check_display()

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "export/",
                self.admin_site.admin_view(self.export),
                name="subscriptions_eventtype_export",
            ),
            path(
                "import/",
                self.admin_site.admin_view(self.import_file),
                name="subscriptions_eventtype_import",
            ),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        may_import = {"has_import_permission": self.has_change_permission(request)}
        return super().changelist_view(request, {**may_import, **(extra_context or {})})

    def export(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        text = catalogue_file.as_text(catalogue_file.export())
        disposition = {"Content-Disposition": 'attachment; filename="event-types.json"'}
        return HttpResponse(text, content_type="application/json", headers=disposition)

    def import_file(self, request: HttpRequest) -> HttpResponse:
        if not (self.has_add_permission(request) and self.has_change_permission(request)):
            raise PermissionDenied
        form = ImportForm(request.POST or None, request.FILES or None)
        report = form.report() if form.is_valid() else None
        context = {
            **self.admin_site.each_context(request),
            "title": "Import event types",
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "report": report,
            "done": report is not None and not form.cleaned_data["dry_run"],
        }
        return TemplateResponse(request, "admin/subscriptions/eventtype/import.html", context)
