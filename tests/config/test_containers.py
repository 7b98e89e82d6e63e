"""No container runs here: these hold docker-compose.yml and the Dockerfile to the settings."""

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet

from config import settings
from deliveries.conf import DeliverySettings
from tests.processes import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ["migrate", "web", "worker", "beat"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()

SETTINGS_SOURCE = (ROOT / "config" / "settings.py").read_text()
VARIABLES = set(re.findall(r'(?:env(?:\.\w+)?|secret)\(\s*"([A-Z_]+)"', SETTINGS_SOURCE)) | {
    f"ANGARIUM_{name}" for name in settings.ANGARIUM_VARIABLES
}

GIVEN = {
    "SECRET_KEY": secrets.token_urlsafe(50),
    "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "POSTGRES_PASSWORD": "secret",
}


def environment(service: str) -> dict[str, str]:
    """What a container of the service would see, with `GIVEN` in the operator's shell."""

    def fill(match: re.Match[str]) -> str:
        return GIVEN.get(match["name"], match["default"] or "")

    variable = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*)|:\?[^}]*)?\}")
    return {
        name: variable.sub(fill, str(value))
        for name, value in SERVICES[service]["environment"].items()
    }


@pytest.mark.parametrize("service", OURS)
def test_each_service_sets_only_variables_that_the_settings_read(service: str) -> None:
    assert set(environment(service)) - VARIABLES == set()


@pytest.mark.parametrize("service", OURS)
def test_each_service_gets_what_has_no_default(service: str) -> None:
    assert {"SECRET_KEY", "ENCRYPTION_KEYS", "DATABASE_URL", "REDIS_URL"} <= set(
        environment(service)
    )


def test_it_is_called_by_the_names_that_the_examples_have() -> None:
    examples = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    called = {
        name for page in examples for name in re.findall(r"http://([\w.]+):8000/", page.read_text())
    }
    assert called - {"web"} <= set(environment("web")["ALLOWED_HOSTS"].split(","))


@pytest.mark.parametrize("service", OURS)
def test_django_finds_nothing_to_complain_of_in_a_deployment(service: str) -> None:
    checked = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment(service)},
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("missing", ["SECRET_KEY", "ENCRYPTION_KEYS"])
def test_without_a_secret_the_service_does_not_start(missing: str) -> None:
    rest = {name: value for name, value in environment("web").items() if name != missing}
    started = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **rest},
        capture_output=True,
        text=True,
    )
    assert started.returncode != 0
    assert f"Set {missing} in the environment" in started.stderr


def test_workers_can_be_scaled() -> None:
    assert not {"container_name", "ports", "hostname"} & set(SERVICES["worker"])


def test_everything_starts_after_the_migration_and_that_after_the_servers() -> None:
    for service in ("web", "worker", "beat"):
        assert SERVICES[service]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"}
        }
    for server, condition in SERVICES["migrate"]["depends_on"].items():
        assert condition == {"condition": "service_healthy"}
        assert "healthcheck" in SERVICES[server]


def test_the_workers_have_time_to_end_their_deliveries() -> None:
    grace = int(SERVICES["worker"]["stop_grace_period"].removesuffix("s"))
    settings = DeliverySettings()
    assert grace > settings.courier_grace + settings.connect_timeout


@pytest.mark.parametrize("service", ["web", "worker", "beat"])
def test_a_container_that_gives_no_sign_of_life_is_unhealthy(service: str, tmp_path: Path) -> None:
    how, python, *arguments = SERVICES[service]["healthcheck"]["test"]
    assert (how, python) == ("CMD", "python")
    checked = subprocess.run(
        [sys.executable, *(argument.replace(":8000", ":9") for argument in arguments)],
        cwd=ROOT,
        env={
            **environment(service),
            "ANGARIUM_HEARTBEAT_DIRECTORY": str(tmp_path),
            # Without its broker a worker has an excuse.
            "REDIS_URL": settings.REDIS_URL,
        },
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 1
    assert "No module" not in checked.stderr


def test_a_worker_and_beat_leave_their_signs_where_the_image_s_user_may_write() -> None:
    for service in ("worker", "beat"):
        assert environment(service)["ANGARIUM_HEARTBEAT_DIRECTORY"] == "/tmp"


def test_nobody_else_gets_past_the_proxy_or_at_the_web_server_s_controls() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"web": ["${WEB_ADDRESS:-127.0.0.1}:${WEB_PORT:-8000}:8000"]}
    assert '"--no-control-socket"' in DOCKERFILE


def test_the_image_does_not_run_as_root() -> None:
    assert re.findall(r"^USER (\w+)$", DOCKERFILE, re.MULTILINE) == ["angarium"]
    assert DOCKERFILE.index("USER angarium") < DOCKERFILE.index("CMD")


def test_the_image_has_what_the_service_and_its_spans_take() -> None:
    assert '".[service,otel]"' in DOCKERFILE


def test_the_image_holds_every_package_and_ignores_the_rest() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    copied = set(" ".join(re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE)).split())
    assert copied == allowed
    assert {"config", "webhooks", "subscriptions", "deliveries"} <= copied
    assert all((ROOT / name).exists() for name in copied)
