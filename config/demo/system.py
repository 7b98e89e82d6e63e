"""The parts of the running system, each as the command line that starts it."""

import json
import os
from collections.abc import Iterable
from secrets import token_urlsafe

from cryptography.fernet import Fernet

from config.demo.processes import Processes
from config.demo.registration import Registration
from config.embedded import free_port

RETRY_SCHEDULE = (0.5, 1.0, 2.0, 3.0)
"""The waits between attempts, in seconds: short, so that one sees a delivery die."""
MAX_ATTEMPTS = len(RETRY_SCHEDULE) + 1

MANAGE = ("manage.py",)
CELERY = ("-m", "celery", "-A", "config")
GUNICORN = ("-m", "gunicorn", "--no-control-socket", "--graceful-timeout", "2")


def environment(database: str, *, broker: str) -> dict[str, str]:
    """The variables that all parts share: fresh secrets, and leave to deliver to this machine."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": database,
        "REDIS_URL": broker,
        "SECRET_KEY": token_urlsafe(50),
        "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "ALLOWED_HOSTS": "127.0.0.1",
        "DEBUG": "0",
        "BEHIND_TLS": "0",
        "LOG_FORMAT": "line",
        "ANGARIUM_ALLOW_HTTP": "1",
        "ANGARIUM_ALLOWED_NETWORKS": "127.0.0.0/8",
        "ANGARIUM_RETRY_SCHEDULE": ",".join(map(str, RETRY_SCHEDULE)),
        # So that what fails is seen to be tried again and to die, rather than held.
        "ANGARIUM_CIRCUIT_FAILURE_RATE": "0",
    }


def make_tables(processes: Processes) -> None:
    processes.run("migrate", *MANAGE, "migrate")


def make_admin(processes: Processes) -> str:
    """Make the user "admin"; returns the password."""
    password = token_urlsafe(9)
    processes.run(
        "createsuperuser",
        *MANAGE,
        "createsuperuser",
        "--noinput",
        DJANGO_SUPERUSER_USERNAME="admin",
        DJANGO_SUPERUSER_EMAIL="admin@example.com",
        DJANGO_SUPERUSER_PASSWORD=password,
    )
    return password


def make_api_key(processes: Processes) -> str:
    return processes.run("create_api_key", *MANAGE, "create_api_key", "demo").split()[-1]


def start_services(processes: Processes) -> str:
    """Start the web server, a worker and beat; returns the web server's URL."""
    address = f"127.0.0.1:{free_port()}"
    # DEBUG serves the admin's static files from where they are, without collecting them first.
    processes.serve(
        *("web", *GUNICORN, "config.wsgi", "--bind", address, "--threads", "8"),
        ready="Listening at",
        DEBUG="1",
    )
    processes.serve("worker", *CELERY, "worker", "--loglevel", "INFO", ready=" ready.")
    processes.serve(
        *("beat", *CELERY, "beat", "--loglevel", "INFO", "--pidfile", ""), ready="beat: Starting"
    )
    return f"http://{address}"


def start_receivers(
    processes: Processes, address: str, database: str, registrations: Iterable[Registration]
) -> None:
    """Start the receivers' web server, which knows each endpoint's secret."""
    variables = {
        "DJANGO_SETTINGS_MODULE": "config.demo.receivers.settings",
        "DATABASE_URL": database,
        "RECEIVER_SECRETS": json.dumps(
            {registration.receiver.name: registration.secret for registration in registrations}
        ),
    }
    processes.run("receivers-migrate", *MANAGE, "migrate", "--run-syncdb", **variables)
    processes.serve(
        *("receivers", *GUNICORN, "config.demo.receivers.wsgi", "--bind", address),
        *("--threads", "32"),
        ready="Listening at",
        **variables,
    )
