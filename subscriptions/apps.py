import sys

from django.apps import AppConfig
from django.core.checks import register

from subscriptions.attribution import attribute_command
from subscriptions.checks import check_admin, check_settings


class SubscriptionsConfig(AppConfig):
    name = "subscriptions"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Subscriptions: who wants what"

    def ready(self) -> None:
        register(check_settings)
        register(check_admin)
        attribute_command(sys.argv)
