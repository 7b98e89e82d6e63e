"""A Django project of the subscribers': it knows nothing of Angarium but how to receive."""

import environ
from django.core.management.utils import get_random_secret_key

SECRET_KEY = get_random_secret_key()
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["webhooks.receiving", "config.demo.receivers"]
ROOT_URLCONF = "config.demo.receivers.urls"
DATABASES = {"default": {**environ.Env().db("DATABASE_URL"), "CONN_MAX_AGE": None}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
