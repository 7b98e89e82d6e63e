"""What the admin looks like, and where its sidebar leads: by what an operator does."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy

TITLE = "Angarium"


def file(name: str) -> Callable[[HttpRequest], str]:
    """Where a static file is, when a page asks."""
    return lambda request: static(name)


def page(title: str, icon: str, model: str) -> dict[str, Any]:
    """A link to the list of a model, for those who may see it."""
    app, name = model.split(".")

    def may_see(request: HttpRequest) -> bool:
        return request.user.has_perm(f"{app}.view_{name}")

    link = reverse_lazy(f"admin:{app}_{name}_changelist")
    return {"title": title, "icon": icon, "link": link, "permission": may_see}


def group(title: str, *pages: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "items": list(pages)}


UNFOLD = {
    "SITE_TITLE": TITLE,
    "SITE_HEADER": TITLE,
    "SITE_SUBHEADER": "Webhooks, delivered",
    "SITE_SYMBOL": "mail",
    "SITE_FAVICONS": [{"rel": "icon", "href": file("deliveries/portal/icon.svg")}],
    "SHOW_VIEW_ON_SITE": False,
    "STYLES": [file("config/admin.css")],
    "SCRIPTS": [file("config/admin.js")],
    "DASHBOARD_CALLBACK": "deliveries.dashboard.page.show",
    "SIDEBAR": {
        "navigation": [
            {
                "items": [
                    {
                        "title": "Dashboard",
                        "icon": "monitoring",
                        "link": reverse_lazy("admin:index"),
                    }
                ]
            },
            group(
                "Deliveries",
                page("Events", "bolt", "deliveries.event"),
                page("Deliveries", "send", "deliveries.delivery"),
                page("Dead letters", "mark_email_unread", "deliveries.deadletter"),
                page("Replays", "replay", "deliveries.replay"),
            ),
            group(
                "Subscribers",
                page("Subscribers", "groups", "subscriptions.subscriber"),
                page("Endpoints", "hub", "subscriptions.endpoint"),
                page("Subscriptions", "filter_alt", "subscriptions.subscription"),
            ),
            group("Catalogue", page("Event types", "sell", "subscriptions.eventtype")),
            group(
                "Operations",
                page("History", "history", "subscriptions.historyentry"),
                page("Erasures", "delete_forever", "deliveries.erasure"),
                page("Scheduled tasks", "schedule", "django_celery_beat.periodictask"),
                page("Intervals", "timelapse", "django_celery_beat.intervalschedule"),
                page("Crontabs", "calendar_month", "django_celery_beat.crontabschedule"),
                page("Clocked times", "alarm", "django_celery_beat.clockedschedule"),
                page("Solar events", "sunny", "django_celery_beat.solarschedule"),
            ),
            group(
                "Access",
                page("API keys", "key", "subscriptions.apikey"),
                page("Users", "person", "auth.user"),
                page("Groups", "group", "auth.group"),
            ),
        ]
    },
}
