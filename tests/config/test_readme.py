"""What README.md says of the settings and of other people's projects is so."""

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from config import settings
from deliveries.conf import DeliverySettings
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
    for part in (SubscriptionSettings, DeliverySettings)
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
            if isinstance(default, str):
                assert said == default
            else:
                assert [float(one) for one in said.split(",")] == [float(one) for one in values], (
                    name
                )


def test_the_ten_lines_add_angarium_to_somebody_else_s_project(tmp_path: Path) -> None:
    [block] = re.findall(r"```python\n# settings.py\n(.*?)```", README, re.DOTALL)
    in_settings, in_urls = block.split("# urls.py\n")
    (tmp_path / "settings.py").write_text(
        "import os, environ\n"
        "SECRET_KEY = 'x' * 60\n"
        "ROOT_URLCONF = 'urls'\n"
        "USE_TZ = True\n"
        "INSTALLED_APPS = ['django.contrib.auth', 'django.contrib.contenttypes']\n"
        "DATABASES = {'default': environ.Env().db('DATABASE_URL')}\n" + in_settings
    )
    (tmp_path / "urls.py").write_text(
        "from django.urls import include, path\nurlpatterns = []\n" + in_urls
    )
    for command in (["check"], ["migrate", "--plan"], ["makemigrations", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "django", *command],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
                "DJANGO_SETTINGS_MODULE": "settings",
                "ENCRYPTION_KEY": os.environ["ENCRYPTION_KEYS"],
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
