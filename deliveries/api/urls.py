from deliveries.api import views
from deliveries.api.explaining import ExplanationViewSet
from deliveries.api.feed import FeedViewSet
from deliveries.api.testing import TestEventViewSet
from subscriptions.api.routers import Router

router = Router()
router.register("events", views.EventViewSet, "event")
router.register("events", ExplanationViewSet, "explanation")
router.register("deliveries", views.DeliveryViewSet)
router.register("dead-letters", views.DeadLetterViewSet)
router.register("endpoints", TestEventViewSet)
router.register("subscribers", FeedViewSet)

urlpatterns = router.urls
