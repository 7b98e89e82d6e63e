"""The history: who changed what."""

from django.contrib import admin
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from subscriptions.admin.base import ReadOnlyAdmin
from subscriptions.admin.filters import CreatedFilter
from subscriptions.hidden_characters import shown
from subscriptions.history import HistoryEntry


@admin.register(HistoryEntry)
class HistoryEntryAdmin(ReadOnlyAdmin):
    list_display = ["time", "who", "done", "what", "what_changed"]
    list_filter = ["actor_kind", "kind", "action", CreatedFilter]
    sortable_by = ["time"]
    search_fields = [
        f"{column}__exact"
        for column in ("object_id", "name", "actor_id", "actor_name", "ip_address", "request_id")
    ]
    search_help_text = (
        "By id, name, who it was (a user, an API key's name or prefix), IP address or request id; "
        "all of a subscriber or an endpoint by its full id."
    )
    id_lookups = {
        "hist": "pk",
        "sub": "subscriber",
        "ep": "endpoint",
        **dict.fromkeys(["sbn", "sec", "dlv"], "object_id"),
    }
    fields = ["time", "who", "request_id", "done", "what", "what_changed", "endpoint", "subscriber"]

    @admin.display(ordering="-pk")
    def time(self, entry: HistoryEntry) -> str:
        return f"{timezone.localtime(entry.at):%Y-%m-%d %H:%M:%S}"

    @admin.display
    def who(self, entry: HistoryEntry) -> SafeString:
        return format_html("{}<br><small>{}</small>", entry.actor, entry.ip_address)

    @admin.display
    def done(self, entry: HistoryEntry) -> str:
        return str(entry)

    @admin.display
    def what(self, entry: HistoryEntry) -> SafeString:
        what = f"{entry.count} of them" if entry.count > 1 else shown(entry.name)
        return format_html("{}<br><small>{}</small>", what, entry.object_id)

    @admin.display
    def what_changed(self, entry: HistoryEntry) -> SafeString:
        return format_html_join(mark_safe("<br>"), "{}", ((line,) for line in entry.lines()))
