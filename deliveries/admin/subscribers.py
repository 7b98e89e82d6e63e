"""The admin of a subscriber as a whole, with what is on record of it: to export it, to erase it."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from deliveries import erasing, subscriber_export
from deliveries.exporting import download
from deliveries.models import Erasure
from subscriptions.admin.base import ReadOnlyAdmin
from subscriptions.admin.bulk import bulk_action
from subscriptions.admin.subscribers import SubscriberAdmin
from subscriptions.models import Subscriber

admin.site.unregister(Subscriber)

ONE_SUBSCRIBER = "Choose one subscriber."


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
        chosen = list(subscribers[:2])
        if len(chosen) != 1:
            self.message_user(request, ONE_SUBSCRIBER, messages.ERROR)
            return None
        lines = subscriber_export.export(chosen[0].pk)
        return download(lines, f"{chosen[0].pk}.ndjson", "application/x-ndjson")

    @bulk_action(
        "Erase with all that is on record",
        done="erased",
        permissions=["erase"],
        only_one=ONE_SUBSCRIBER,
        warning="Its API keys and endpoints end at once; the rest follows soon after. "
        "This cannot be undone.",
        about=lambda subscribers: erasing.extent(subscribers.get()).lines(),
    )
    def erase(self, request: HttpRequest, subscribers: QuerySet[Subscriber]) -> None:
        subscriber = subscribers.get()
        try:
            erasing.begin(subscriber.pk)
            self.message_user(request, f"{subscriber.pk} is being erased.", messages.SUCCESS)
        except erasing.BeingErased as error:
            self.message_user(request, str(error), messages.WARNING)


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyAdmin):
    list_display = ["subscriber", "asked_at", "deliveries", "events", "ended_at"]
    search_fields = ["subscriber__exact"]
    search_help_text = "By the full id of the subscriber that was."
    fields = ["id", "subscriber", "asked_at", "deliveries", "events", "ended_at"]
