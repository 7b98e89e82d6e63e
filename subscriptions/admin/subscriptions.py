"""Subscriptions: in the endpoint's form, and by themselves."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from subscriptions.admin.base import LockingAdmin, TabularInline
from subscriptions.admin.display import mark
from subscriptions.endpoint_forms import SubscriptionForm
from subscriptions.models import Subscription


class SubscriptionInline(TabularInline):
    model = Subscription
    form = SubscriptionForm
    fields = ["pattern", "channels", "filter", "enabled", "created_at"]
    readonly_fields = ["created_at"]
    extra = 1
    show_change_link = True

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **options)
        if field is not None:
            # The column's heading is no label to whoever hears the page.
            field.widget.attrs["aria-label"] = capfirst(field.label)
        return field


@admin.register(Subscription)
class SubscriptionAdmin(LockingAdmin):
    list_display = ["pattern", "on_channels", "filter", "endpoint", "enabled", "failures"]
    list_filter = ["enabled"]
    list_select_related = ["endpoint"]
    search_fields = ["pattern", "endpoint__url"]
    search_help_text = (
        "By pattern, URL, or the full id of a subscription, an endpoint or a subscriber."
    )
    id_lookups = {"sbn": "pk", "ep": "endpoint", "sub": "endpoint__subscriber"}
    form = SubscriptionForm
    readonly_fields = [
        *["id", "endpoint", "pattern", "created_at"],
        *["filter_failures", "filter_failed_at", "filter_error"],
    ]
    fields = [*readonly_fields[:3], "channels", "filter", "enabled", *readonly_fields[3:]]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # on the endpoint's page

    @admin.display(description="channels")
    def on_channels(self, subscription: Subscription) -> str:
        return ", ".join(subscription.channels) or "all"

    @admin.display(description="filter failures", ordering="filter_failures")
    def failures(self, subscription: Subscription) -> SafeString:
        if not subscription.filter_failures:
            return mark("no failures", "over")
        return mark(f"failed {subscription.filter_failures} times", "bad")
