"""Django's settings, read from the environment (see the table in README.md)."""

import logging
import os
from functools import partial
from pathlib import Path

import environ
from cryptography.fernet import Fernet
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from config.appearance import UNFOLD as UNFOLD
from config.broker_url import broker_at
from config.logs import FORMATS, logging_settings

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=False)


def secret(name: str, in_debug: str) -> str:
    """A secret has a default only where DEBUG says that nothing is at stake."""
    # Not by way of env, to which what begins with a dollar is another variable's name.
    value = os.environ.get(name, in_debug if DEBUG else "")
    if not value:
        raise ImproperlyConfigured(f"Set {name} in the environment (or DEBUG=1 to try things out).")
    return value


KNOWN_TO_ALL = ("for-debugging-only-", "django-insecure-")
SECRET_KEY = secret("SECRET_KEY", in_debug=KNOWN_TO_ALL[0] + "x" * 32)
if not DEBUG and (
    len(SECRET_KEY) < 50 or len(set(SECRET_KEY)) < 5 or SECRET_KEY.startswith(KNOWN_TO_ALL)
):
    raise ImproperlyConfigured("Set SECRET_KEY to 50 random characters: README.md tells how.")

DEBUGGING_KEY = "Zm9yLWRlYnVnZ2luZy1vbmx5LWZvci1kZWJ1Z2dpbmc="
ENCRYPTION_KEYS = secret("ENCRYPTION_KEYS", in_debug=DEBUGGING_KEY).split(",")
try:
    for key in ENCRYPTION_KEYS:
        Fernet(key)
except ValueError as error:
    raise ImproperlyConfigured(
        "Set ENCRYPTION_KEYS to Fernet keys, joined by commas: README.md tells how to make one."
    ) from error
if not DEBUG and DEBUGGING_KEY in ENCRYPTION_KEYS:
    raise ImproperlyConfigured("Take the key that is for debugging only out of ENCRYPTION_KEYS.")

ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    # First, as its templates and static files take the place of the admin's own.
    "config",
    "unfold.apps.BasicAppConfig",
    "config.apps.Admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework_api_key",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "django_htmx",
    "webhooks.receiving",
    "subscriptions",
    "deliveries",
]
MIDDLEWARE = [
    "subscriptions.request_ids.RequestIds",
    "config.headers.Headers",
    "config.probes.Probes",
    "subscriptions.middleware.Attribution",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "static"
WHITENOISE_USE_FINDERS = DEBUG
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_EXCEPTION_REPORTER_FILTER = "subscriptions.error_reports.SecretFilter"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Nothing is loaded from elsewhere, and nothing runs that stands in a page: the admin shows what
# endpoints answered.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}
SESSION_COOKIE_AGE = 12 * 3600
CSRF_COOKIE_HTTPONLY = True

# Behind a proxy that ends TLS and says so.
BEHIND_TLS = env.bool("BEHIND_TLS", default=not DEBUG)
if BEHIND_TLS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    # Browsers take such a cookie from this very host alone, over TLS (RFC 6265bis, 4.1.3.2).
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"

DATABASES = {
    "default": env.db("DATABASE_URL", default="postgresql://postgres@127.0.0.1:5432/angarium")
}
# A threaded web server shares a pool; a worker process keeps its one connection.
if pool_size := env.int("DATABASE_POOL_SIZE", default=0):
    DATABASES["default"].setdefault("OPTIONS", {})["pool"] = {"min_size": 1, "max_size": pool_size}
else:
    DATABASES["default"]["CONN_MAX_AGE"] = None

CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "housekeeping"
CELERY_TASK_ROUTES = {"deliveries.deliver": {"queue": "deliveries"}}
CELERY_WORKER_PREFETCH_MULTIPLIER = 4
# The courier streams deliveries in each worker's one process; the plain lane sends one at a time on
# Celery's own pools.
LANE = env.str("LANE", default="courier")
if LANE not in ("courier", "plain"):
    raise ImproperlyConfigured(f"Set LANE to courier or plain, not {LANE!r}.")
if LANE == "courier":
    CELERY_WORKER_POOL = "deliveries.courier.pool:CourierPool"
    CELERY_WORKER_CONCURRENCY = env.int("COURIER_CONCURRENCY", default=200)
    CELERY_WORKER_PREFETCH_MULTIPLIER = 2
# Lists are read there; nothing else is.
if "DATABASE_REPLICA_URL" in os.environ:
    DATABASES["replica"] = {**DATABASES["default"], **env.db("DATABASE_REPLICA_URL")}
    # A list does not wait for a replica that is away: it is read from the primary then.
    DATABASES["replica"]["OPTIONS"] = {
        "connect_timeout": 2,
        "tcp_user_timeout": 2000,
        **DATABASES["default"].get("OPTIONS", {}),
        **DATABASES["replica"].get("OPTIONS", {}),
    }

REDIS_URL = env.str("REDIS_URL", default="redis://127.0.0.1:6379/0")
# Rates, circuits and metrics are in Redis, whatever brings the messages.
BROKER = broker_at(
    env.str("BROKER_URL", default=REDIS_URL), LANE, env.str("BROKER_TRANSPORT", default="")
)
CELERY_BROKER_URL = BROKER.url
CELERY_BROKER_TRANSPORT = BROKER.transport
CELERY_BROKER_TRANSPORT_OPTIONS = BROKER.transport_options
CELERY_BROKER_USE_SSL = BROKER.use_ssl
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# However long the broker is away; Celery's own limit would end a worker after some 50 minutes.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_QUEUES = dict.fromkeys(("housekeeping", "deliveries"), BROKER.queue_options)
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_TIMEZONE = TIME_ZONE

REST_FRAMEWORK = {
    # The API's views do not leave it to settings who gets in; any other view is closed.
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["subscriptions.api.access.HasScope"],
    "DEFAULT_SCHEMA_CLASS": "subscriptions.api.schema.ScopedSchema",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Angarium",
    "DESCRIPTION": "Emit events; every endpoint that asked for them gets a signed webhook.",
    "VERSION": "1",
    "SERVE_PERMISSIONS": [],
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # Or the page would ask an online validator about the schema.
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "subscriptions.api.schema.document_refusals",
    ],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {
        "EndpointState": "subscriptions.models.Endpoint.State",
        "DeliveryState": "deliveries.models.Delivery.State",
        "ReplayKind": "deliveries.models.Replay.Kind",
        "ReplayState": "deliveries.models.Replay.State",
    },
}

# Angarium's own settings, by the names in subscriptions/conf.py and deliveries/conf.py, where their
# defaults are. Each is read from the variable ANGARIUM_<name> where that is set.
numbers = partial(env.list, cast=float)
ANGARIUM_VARIABLES = {
    "ALLOW_HTTP": env.bool,
    "ALLOW_SINGLE_LABELS": env.bool,
    "ALLOWED_NETWORKS": env.list,
    "ALLOWED_PORTS": env.list,
    "API_RATE": env.str,
    "ATTEMPT_RETENTION": env.float,
    "BLOCKED_NETWORKS": env.list,
    "CA_BUNDLE": env.str,
    "CATALOGUE_AGE": env.float,
    "CIRCUIT_FAILURE_RATE": env.float,
    "CIRCUIT_RESULTS": env.int,
    "CIRCUIT_WAIT": env.float,
    "CIRCUIT_WAIT_MAX": env.float,
    "CIRCUIT_WINDOW": env.float,
    "CONNECT_TIMEOUT": env.float,
    "COURIER_GRACE": env.float,
    "DEAD_LETTER_RETENTION": env.float,
    "DISABLE_AFTER": env.float,
    "EGRESS_PROXY": env.str,
    "ENDPOINT_MAX_IN_FLIGHT": env.int,
    "EVENT_RETENTION": env.float,
    "EVENT_SOURCE": env.str,
    "FAN_OUT_INLINE_LIMIT": env.int,
    "FAN_OUT_CHUNK": env.int,
    "HEARTBEAT_DIRECTORY": env.str,
    "HELD_RETENTION": env.float,
    "HISTORY_RETENTION": env.float,
    "JITTER": env.float,
    "LEASE_MARGIN": env.float,
    "LOST_AFTER": env.float,
    "MAX_PAYLOAD_BYTES": env.int,
    "METRICS_TOKEN": os.environ.__getitem__,  # as secrets above, it may begin with a dollar
    "PORTAL_COLOUR": env.str,
    "PORTAL_EMBED_ORIGINS": env.list,
    "PORTAL_LINK_AGE": env.float,
    "PORTAL_LOGO_URL": env.str,
    "PORTAL_NAME": env.str,
    "PORTAL_RATE": env.str,
    "PORTAL_SESSION_AGE": env.float,
    "PROXIES": env.int,
    "PUBLIC_URL": env.str,
    "QUEUE_LIMIT": env.int,
    "RECOVERY_RATE": env.float,
    "RELEASE_RATE": env.str,
    "REQUIRE_HANDSHAKE": env.bool,
    "RETRY_AFTER_MAX": env.float,
    "RETRY_COUNTDOWN_MAX": env.float,
    "RETRY_SCHEDULE": numbers,
    "SECRET_OVERLAP": env.float,
    "TIMEOUT": env.float,
    "UNKNOWN_EVENT_TYPES": env.str,
    "USER_AGENT": env.str,
}
ANGARIUM = {
    "ENCRYPTION_KEYS": ENCRYPTION_KEYS,
    "ALLOW_HTTP": DEBUG,
    "PROXIES": int(BEHIND_TLS),
    "REDIS_URL": REDIS_URL,
    **{
        name: read(f"ANGARIUM_{name}")
        for name, read in ANGARIUM_VARIABLES.items()
        if f"ANGARIUM_{name}" in os.environ
    },
}

LOG_FORMAT = env.str("LOG_FORMAT", default="line" if DEBUG else "json")
if LOG_FORMAT not in FORMATS:
    raise ImproperlyConfigured(f"Set LOG_FORMAT to json or line, not {LOG_FORMAT!r}.")
logging.captureWarnings(True)
LOGGING = logging_settings(LOG_FORMAT, env.str("LOG_LEVEL", default="INFO"))
