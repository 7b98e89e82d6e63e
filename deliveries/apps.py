from django.apps import AppConfig
from django.core.checks import register
from django.db.models.signals import post_migrate, post_save

from deliveries.portal.checks import check_portal
from deliveries.roles import make_roles


class DeliveriesConfig(AppConfig):
    name = "deliveries"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Deliveries: what happened"

    def ready(self) -> None:
        register(check_portal)
        # After Django's own, which makes the permissions.
        post_migrate.connect(make_roles, sender=self)
        # They need the models, which are there only now.
        from deliveries.handshakes import ring_after_commit
        from deliveries.liveness import watch

        post_save.connect(ring_after_commit, sender="subscriptions.Handshake")
        watch()
