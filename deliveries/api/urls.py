from deliveries.api import views
from deliveries.api.erasures import ErasureViewSet, WholeSubscriberViewSet
from deliveries.api.explaining import ExplanationViewSet
from deliveries.api.feed import FeedViewSet
from deliveries.api.portal import PortalViewSet
from deliveries.api.replays import ReplayViewSet
from deliveries.api.testing import TestEventViewSet
from subscriptions.api.routers import Router

router = Router()
router.register("events", views.EventViewSet, "event")
router.register("events", ExplanationViewSet, "explanation")
router.register("deliveries", views.DeliveryViewSet)
router.register("dead-letters", views.DeadLetterViewSet)
router.register("dead-letter-jobs", views.DeadLetterJobViewSet)
router.register("erasures", ErasureViewSet)
router.register("replays", ReplayViewSet)
router.register("endpoints", TestEventViewSet)
router.register("subscribers", FeedViewSet)
router.register("subscribers", PortalViewSet, "portal-access")
router.register("subscribers", WholeSubscriberViewSet, "whole-subscriber")

urlpatterns = router.urls
