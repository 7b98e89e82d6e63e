"""Subscribers."""

from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from subscriptions.admin.base import LockingAdmin
from subscriptions.admin.bulk import bulk_action
from subscriptions.history import HistoryEntry
from subscriptions.models import Endpoint, Feed, Subscriber


@admin.register(Subscriber)
class SubscriberAdmin(LockingAdmin):
    list_display = ["name", "external_id", "endpoints", "created_at"]
    search_fields = ["name", "external_id"]
    search_help_text = "By name, external id, or the full id of a subscriber or an endpoint."
    id_lookups = {"sub": "pk", "ep": "endpoints"}
    readonly_fields = ["id", "endpoints", "created_at"]
    actions = ["add_feed"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        endpoints = (
            Endpoint.objects.existing()
            .filter(subscriber=OuterRef("pk"))
            .order_by()
            .values("subscriber")
            .values(count=Count("pk"))
        )
        counted = Coalesce(Subquery(endpoints, output_field=IntegerField()), 0)
        subscribers = super().get_queryset(request).annotate(endpoint_count=counted)
        return cast("QuerySet[Any]", subscribers)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = ["name", "external_id", "feature_flags", "operator"]
        return fields if obj is None else [*fields, *self.readonly_fields]

    def history_of(self, obj: Subscriber) -> QuerySet[HistoryEntry]:
        return HistoryEntry.objects.filter(subscriber=obj.pk)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Django would read all of a subscriber's events first; the API has a better way.
        return False

    def has_add_feed_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("subscriptions.add_endpoint")

    @bulk_action(
        "Add a feed, for those that cannot be sent anything",
        done="given a feed",
        permissions=["add_feed"],
        touches=lambda subscribers: subscribers.exclude(endpoints__state=Endpoint.State.FEED),
    )
    def add_feed(self, request: HttpRequest, subscribers: QuerySet[Subscriber]) -> int:
        feeds = [Feed.objects.open(subscriber) for subscriber in subscribers]
        for feed in feeds:
            url = reverse("admin:subscriptions_endpoint_change", args=[quote(feed.pk)])
            said = format_html('<a href="{}">Say what the feed asks for.</a>', url)
            self.message_user(request, said)
        return len(feeds)

    @admin.display(description="endpoints")
    def endpoints(self, subscriber: Any) -> SafeString:
        url = reverse(
            "admin:subscriptions_endpoint_changelist", query={"subscriber": subscriber.pk}
        )
        return format_html('<a href="{}">{}</a>', url, subscriber.endpoint_count)
