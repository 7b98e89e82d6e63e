"""Which address leads to which page of the portal."""

from django.urls import include, path

from deliveries.portal.views import (
    dead_letters,
    deliveries,
    endpoints,
    entering,
    event_types,
    replays,
    secrets,
    subscriptions,
    test_events,
)

app_name = "portal"

of_endpoint = [
    path("", endpoints.endpoint, name="endpoint"),
    path("settings/", endpoints.settings, name="settings"),
    path("pause/", endpoints.pause, name="pause"),
    path("resume/", endpoints.resume, name="resume"),
    path("close-circuit/", endpoints.close_circuit, name="close_circuit"),
    path("verify/", endpoints.verify, name="verify"),
    path("delete/", endpoints.delete, name="delete"),
    path("secret/", secrets.secret, name="secret"),
    path("secret/reveal/", secrets.reveal, name="reveal"),
    path("secret/rotate/", secrets.rotate, name="rotate"),
    path("secret/expire/", secrets.expire, name="expire"),
    path("test-event/", test_events.test_event, name="test_event"),
    path("subscribe/", subscriptions.add, name="subscribe"),
    path("replay/", replays.start, name="start_replay"),
]

urlpatterns = [
    path("", endpoints.index, name="index"),
    path("enter/", entering.enter, name="enter"),
    path("leave/", entering.leave, name="leave"),
    path("left/", entering.left, name="left"),
    path("theme.css", entering.theme, name="theme"),
    path("endpoints/", endpoints.endpoints, name="endpoints"),
    path("endpoints/add/", endpoints.add, name="add"),
    path("endpoints/<str:key>/", include(of_endpoint)),
    path("subscriptions/<str:key>/", subscriptions.subscription, name="subscription"),
    path("subscriptions/<str:key>/delete/", subscriptions.delete, name="unsubscribe"),
    path("deliveries/", deliveries.deliveries, name="deliveries"),
    path("deliveries/<str:key>/", deliveries.delivery, name="delivery"),
    path("deliveries/<str:key>/retry/", deliveries.retry, name="retry"),
    path("deliveries/<str:key>/replay/", deliveries.replay, name="replay"),
    path("dead-letters/", dead_letters.dead_letters, name="dead_letters"),
    path("dead-letters/redrive/", dead_letters.redrive, name="redrive"),
    path("replays/", replays.replays, name="replays"),
    path("replays/<str:key>/pause/", replays.pause, name="pause_replay"),
    path("replays/<str:key>/resume/", replays.resume, name="resume_replay"),
    path("replays/<str:key>/cancel/", replays.cancel, name="cancel_replay"),
    path("event-types/", event_types.event_types, name="event_types"),
    path("event-types/<str:key>/", event_types.event_type, name="event_type"),
]
