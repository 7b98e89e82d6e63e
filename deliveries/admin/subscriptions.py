"""Subscriptions that can be tried out on events."""

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from deliveries.models import Event
from deliveries.try_form import ASKED, TryForm
from deliveries.trying import Trial, latest, try_on_events, try_on_example
from subscriptions.admin.subscriptions import SubscriptionAdmin
from subscriptions.models import Subscription

admin.site.unregister(Subscription)


@admin.register(Subscription)
class TriedSubscriptionAdmin(SubscriptionAdmin):
    """A subscription that can be tried out on events, as it is or with other words."""

    change_form_template = "admin/subscriptions/subscription/change_form.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.try_out)
        return [
            path("<path:key>/try/", view, name="subscriptions_subscription_try"),
            *super().get_urls(),
        ]

    def try_out(self, request: HttpRequest, key: str) -> HttpResponse:
        if not (
            self.has_view_permission(request) and request.user.has_perm("deliveries.view_event")
        ):
            raise PermissionDenied
        try:
            subscription = Subscription.objects.select_related("endpoint").get(pk=unquote(key))
        except (Subscription.DoesNotExist, ValidationError):
            raise Http404 from None
        words = {name: getattr(subscription, name) for name in ASKED}
        form = TryForm(request.POST if request.method == "POST" else words)
        trials: list[Trial] = []
        if form.is_valid():
            asked, example = form.subscription(), form.example()
            if example is None:
                owner = subscription.endpoint.subscriber_id
                trials = try_on_events(asked, latest(Event.objects.all(), owner))
            else:
                trials = try_on_example(asked, example)
        context = {
            **self.admin_site.each_context(request),
            "title": "Try it",
            "subtitle": str(subscription),
            "opts": self.opts,
            "original": subscription,
            "media": self.media,
            "form": form,
            "trials": trials,
        }
        return TemplateResponse(request, "admin/subscriptions/subscription/try_out.html", context)
