from django.apps import AppConfig
from django.contrib.admin import apps

from config import tracing


class Config(AppConfig):
    name = "config"

    def ready(self) -> None:
        tracing.set_up()


class Admin(apps.AdminConfig):
    default = False  # or Django would take it for the config of this very package
    default_site = "config.logins.Site"
