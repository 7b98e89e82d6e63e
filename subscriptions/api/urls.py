from subscriptions.api import views
from subscriptions.api.catalogue import CatalogueViewSet
from subscriptions.api.history import HistoryViewSet
from subscriptions.api.routers import Router

router = Router()
router.register("catalogue", CatalogueViewSet, "catalogue")
router.register("event-types", views.EventTypeViewSet)
router.register("subscribers", views.SubscriberViewSet)
router.register("endpoints", views.EndpointViewSet)
router.register("subscriptions", views.SubscriptionViewSet)
router.register("history", HistoryViewSet)

urlpatterns = router.urls
