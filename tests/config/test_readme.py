"""What README.md says of the settings and of other people's projects is so."""

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from config import settings
from deliveries.conf import DeliverySettings
from deliveries.portal.conf import PortalSettings
from subscriptions.conf import SubscriptionSettings
from tests.config.test_containers import VARIABLES
from tests.processes import ROOT

README = (ROOT / "README.md").read_text()
TABLE = {
    name: row[1]
    for row in re.findall(r"^\| (`[^|]*`) \|([^|]*)\|", README, re.MULTILINE)
    for name in re.findall(r"`([A-Z_]+)`", row[0])
}
FIELDS = {
    f"ANGARIUM_{field.name.upper()}": field.default
    for part in (SubscriptionSettings, DeliverySettings, PortalSettings)
    for field in fields(part)
}


def test_the_table_has_every_variable_and_no_other() -> None:
    assert set(TABLE) == VARIABLES


def test_every_variable_of_angarium_is_a_setting_of_that_name() -> None:
    names = {f"ANGARIUM_{name}" for name in settings.ANGARIUM_VARIABLES}
    assert names - set(FIELDS) == set()


def test_the_defaults_in_the_table_are_those_of_the_code() -> None:
    for name, shown in TABLE.items():
        if name in FIELDS and shown.strip():
            default = FIELDS[name]
            values = default if isinstance(default, tuple) else [default]
            said = re.findall(r"`([^`]*)`", shown)[0]
            if isinstance(values[0], str):
                assert said.split(",") == list(values), name
            else:
                assert [float(one) for one in said.split(",")] == [float(one) for one in values], (
                    name
                )


def test_the_file_of_secrets_has_all_that_compose_asks_for(tmp_path: Path) -> None:
    [block] = re.findall(r"```sh\n(cat > \.env .*?)```", README, re.DOTALL)
    subprocess.run(["sh", "-c", block], cwd=tmp_path, check=True)
    lines = (tmp_path / ".env").read_text().splitlines()
    written = dict(line.split("=", 1) for line in lines)
    asked = re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text())
    assert set(written) == set(asked)
    assert len(written["SECRET_KEY"]) >= 50
    Fernet(written["ENCRYPTION_KEYS"])
    assert written["POSTGRES_PASSWORD"].isalnum()


def test_the_courier_s_settings_are_those_of_the_service() -> None:
    [block] = re.findall(r"```python\n(CELERY_WORKER_POOL = .*?)```", README, re.DOTALL)
    told: dict[str, object] = {}
    exec(block, {}, told)
    assert told == {name: getattr(settings, name) for name in told}


@pytest.fixture
def somebody_s_project(tmp_path: Path) -> Path:
    """A Django project with the ten lines that add Angarium to it."""
    [block] = re.findall(r"```python\n# settings.py\n(.*?)```", README, re.DOTALL)
    in_settings, in_urls = block.split("# urls.py\n")
    (tmp_path / "settings.py").write_text(
        "import os, environ\n"
        "SECRET_KEY = 'x' * 60\n"
        "ALLOWED_HOSTS = ['testserver']\n"
        "ROOT_URLCONF = 'urls'\n"
        "USE_TZ = True\n"
        "INSTALLED_APPS = ['django.contrib.auth', 'django.contrib.contenttypes']\n"
        "DATABASES = {'default': environ.Env().db('DATABASE_URL')}\n" + in_settings
    )
    (tmp_path / "urls.py").write_text(
        "from django.urls import include, path\nurlpatterns = []\n" + in_urls
    )
    return tmp_path


def run(project: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env={
            **os.environ,
            "PYTHONPATH": f"{project}{os.pathsep}{ROOT}",
            "DJANGO_SETTINGS_MODULE": "settings",
            "ENCRYPTION_KEY": os.environ["ENCRYPTION_KEYS"],
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", ["check", "migrate --plan", "makemigrations --check"])
def test_the_ten_lines_add_angarium_to_somebody_else_s_project(
    somebody_s_project: Path, command: str
) -> None:
    run(somebody_s_project, "-m", "django", *command.split())


def test_the_api_is_closed_there_though_nothing_says_so(somebody_s_project: Path) -> None:
    asked = [("get", "endpoints/"), ("get", "endpoints/x/secret/"), ("post", "events/")]
    answers = run(
        somebody_s_project,
        "-c",
        "import django; django.setup()\n"
        "from django.test import Client\n"
        f"for method, path in {asked}:\n"
        "    answer = getattr(Client(), method)(f'/webhooks/{path}')\n"
        "    print(answer.status_code, list(answer.json()))\n",
    )
    assert answers == "401 ['detail']\n" * len(asked)
