from django.apps import AppConfig


class ReceivingConfig(AppConfig):
    name = "webhooks.receiving"
    label = "webhooks_receiving"
    verbose_name = "Webhooks received"
    default_auto_field = "django.db.models.BigAutoField"
