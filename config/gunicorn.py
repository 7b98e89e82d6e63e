"""gunicorn's configuration (`-c python:config.gunicorn`): it logs as all else does."""

from config.settings import LOGGING

logconfig_dict = {
    **LOGGING,
    "loggers": {**LOGGING["loggers"], "gunicorn.error": {"propagate": True}, "gunicorn.access": {}},
}
