"""What an endpoint asks for: patterns, channels, filters, and a try before anything is saved."""

from django.db import transaction
from django.http import HttpResponse, QueryDict

from deliveries.portal.forms import SubscriptionForm, TryForm
from deliveries.portal.gate import PortalRequest, done, page, posted, show
from deliveries.portal.own import found, locked
from deliveries.portal.views.endpoints import page_of
from deliveries.trying import Trial, latest, try_on_events, try_on_example
from subscriptions.models import Subscription


@page
def add(request: PortalRequest, key: str) -> HttpResponse:
    return _edit(request, Subscription(endpoint=found(request.own.endpoints, key)), "subscribed")


@page
def subscription(request: PortalRequest, key: str) -> HttpResponse:
    return _edit(request, found(request.own.subscriptions, key), "saved")


@posted
@transaction.atomic
def delete(request: PortalRequest, key: str) -> HttpResponse:
    subscription = found(locked(request.own.subscriptions), key)
    subscription.delete()
    return done(page_of(subscription.endpoint), "unsubscribed")


@transaction.atomic
def _edit(request: PortalRequest, subscription: Subscription, notice: str) -> HttpResponse:
    posted = request.POST if request.method == "POST" else None
    if posted is not None:
        # One at a time changes what an endpoint asks for, so that it asks for nothing twice.
        subscription.endpoint = found(locked(request.own.endpoints), subscription.endpoint_id)
    form = SubscriptionForm(posted, instance=subscription, own=request.own)
    trying = posted is not None and "try" in posted
    if posted is not None and not trying and form.is_valid():
        form.save()
        return done(page_of(subscription.endpoint), notice)
    example = TryForm(_asked(posted, subscription) if trying else None)
    context = {
        "endpoint": subscription.endpoint,
        "subscription": subscription,
        "is_new": subscription._state.adding,
        "form": form,
        "example": example,
        "event_types": request.own.event_types,
        "trials": _try(request, example) if trying and example.is_valid() else None,
    }
    return show(request, "subscription", context, status=422 if form.errors else 200)


def _asked(posted: QueryDict | None, subscription: Subscription) -> dict[str, str]:
    """What is to be tried; the pattern of one that is there already does not change."""
    asked = posted.dict() if posted is not None else {}
    fixed = {} if subscription._state.adding else {"pattern": subscription.pattern}
    return {**asked, **fixed}  # type: ignore[dict-item]


def _try(request: PortalRequest, form: TryForm) -> list[Trial]:
    example = form.example()
    if example is not None:
        return try_on_example(form.subscription(), example)
    events = latest(request.own.events, request.portal_subscriber.pk)
    return try_on_events(form.subscription(), events)
