from deliveries.api import views
from subscriptions.api.routers import Router

router = Router()
router.register("events", views.EventViewSet, "event")
router.register("deliveries", views.DeliveryViewSet)
router.register("dead-letters", views.DeadLetterViewSet)
router.register("endpoints", views.TestEventViewSet)

urlpatterns = router.urls
