"""The admin of a subscriber as a whole, with what is on record of it: to export it, to erase it."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse

from deliveries import erasing, subscriber_export
from deliveries.exporting import download
from deliveries.models import Erasure
from subscriptions.admin import RecordAdmin, SubscriberAdmin
from subscriptions.models import Subscriber

admin.site.unregister(Subscriber)


@admin.register(Subscriber)
class WholeSubscriberAdmin(SubscriberAdmin):
    actions = [*SubscriberAdmin.actions, "export", "erase"]

    def has_erase_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("subscriptions.delete_subscriber")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        leaving = obj is not None and obj.erasing_since is not None
        return not leaving and super().has_change_permission(request, obj)

    @admin.action(description="Export all that is on record", permissions=["change"])
    def export(
        self, request: HttpRequest, subscribers: QuerySet[Subscriber]
    ) -> HttpResponseBase | None:
        subscriber = self._only_one(request, subscribers)
        if subscriber is None:
            return None
        lines = subscriber_export.export(subscriber.pk)
        return download(lines, f"{subscriber.pk}.ndjson", "application/x-ndjson")

    @admin.action(description="Erase with all that is on record", permissions=["erase"])
    def erase(
        self, request: HttpRequest, subscribers: QuerySet[Subscriber]
    ) -> TemplateResponse | None:
        subscriber = self._only_one(request, subscribers)
        if subscriber is None:
            return None
        if "confirmed" in request.POST:
            try:
                erasing.begin(subscriber.pk)
                self.message_user(request, f"{subscriber.pk} is being erased.", messages.SUCCESS)
            except erasing.BeingErased as error:
                self.message_user(request, str(error), messages.WARNING)
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": "Erase a subscriber",
            "opts": self.opts,
            "media": self.media,
            "subscriber": subscriber,
            "extent": erasing.extent(subscriber),
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/subscriptions/subscriber/erase.html", context)

    def _only_one(
        self, request: HttpRequest, subscribers: QuerySet[Subscriber]
    ) -> Subscriber | None:
        chosen = list(subscribers[:2])
        if len(chosen) == 1:
            return chosen[0]
        self.message_user(request, "Choose one subscriber.", messages.ERROR)
        return None


@admin.register(Erasure)
class ErasureAdmin(RecordAdmin):
    list_display = ["subscriber", "asked_at", "deliveries", "events", "ended_at"]
    search_fields = ["subscriber__exact"]
    search_help_text = "By the full id of the subscriber that was."
    fields = ["id", "subscriber", "asked_at", "deliveries", "events", "ended_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False
