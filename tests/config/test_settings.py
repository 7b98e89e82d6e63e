import html
import json
import os
import re
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.core.management.utils import get_random_secret_key
from django.test import Client

from tests.conftest import Configure
from tests.processes import ROOT, database_url

PRODUCTION = {
    "DEBUG": "0",
    "BEHIND_TLS": "1",
    "SECRET_KEY": get_random_secret_key(),
    "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "ALLOWED_HOSTS": "hooks.example.com",
}


BEHIND_A_PROXY = """
import json, django
django.setup()
from django.test import Client
client = Client(SERVER_NAME="hooks.example.com", headers={"X-Forwarded-Proto": "https"})
plain = client.get("/admin/login/", headers={"X-Forwarded-Proto": "http"})
page = client.get("/admin/login/")
client.post("/admin/login/", {"username": "shirin", "password": "correct horse"})
print(json.dumps({
    "plain": [plain.status_code, plain.headers["Location"]],
    "policy": page.headers["Strict-Transport-Security"],
    "cookies": client.cookies,
}))
"""


def check_deploy(**variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env={**os.environ, **PRODUCTION, **variables},
        capture_output=True,
        text=True,
    )


def test_the_production_settings_pass_django_s_own_check() -> None:
    checked = check_deploy()
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("name", ["SECRET_KEY", "ANGARIUM_METRICS_TOKEN"])
def test_a_secret_may_begin_with_a_dollar(name: str) -> None:
    checked = check_deploy(**{name: "$" + PRODUCTION["SECRET_KEY"]})
    assert checked.returncode == 0, checked.stderr


@pytest.mark.django_db(transaction=True)
def test_behind_tls_all_is_https_and_cookies_are_this_host_s_alone() -> None:
    # Its password is for a process with the production settings, and is hashed as there.
    hasher = PBKDF2PasswordHasher()
    kept_as = hasher.encode("correct horse", hasher.salt())
    User.objects.create(username="shirin", password=kept_as, is_staff=True)
    told = subprocess.run(
        [sys.executable, "-c", BEHIND_A_PROXY],
        cwd=ROOT,
        env={
            **os.environ,
            **PRODUCTION,
            "DATABASE_URL": database_url(),
            "DJANGO_SETTINGS_MODULE": "config.settings",
        },
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    answers = json.loads(told.stdout)
    assert answers["plain"] == [301, "https://hooks.example.com/admin/login/"]
    assert answers["policy"] == "max-age=31536000; includeSubDomains; preload"
    kept = ("secure", "httponly", "samesite", "path", "domain")
    cookies = answers["cookies"]
    assert set(cookies) == {"__Host-csrftoken", "__Host-sessionid"}
    for cookie in cookies.values():
        assert [cookie[name] for name in kept] == [True, True, "Lax", "/", ""]
    assert cookies["__Host-sessionid"]["max-age"] == 12 * 3600


@pytest.mark.parametrize("password", ["short", "password123", "shirin-shirin"])
def test_a_weak_password_is_refused(password: str) -> None:
    with pytest.raises(ValidationError):
        validate_password(password, User(username="shirin-shirin"))


@pytest.mark.parametrize(
    ("variables", "advice"),
    [
        ({"SECRET_KEY": ""}, "Set SECRET_KEY"),
        ({"SECRET_KEY": "short"}, "50 random characters"),
        ({"SECRET_KEY": "x" * 60}, "50 random characters"),
        ({"SECRET_KEY": "for-debugging-only-" + "x" * 32}, "50 random characters"),
        ({"SECRET_KEY": "django-insecure-" + get_random_secret_key()}, "50 random characters"),
        ({"ENCRYPTION_KEYS": ""}, "Set ENCRYPTION_KEYS"),
        ({"ENCRYPTION_KEYS": "no-key"}, "Fernet keys, joined by commas"),
        (
            {"ENCRYPTION_KEYS": "Zm9yLWRlYnVnZ2luZy1vbmx5LWZvci1kZWJ1Z2dpbmc="},
            "for debugging only",
        ),
        ({"LOG_FORMAT": "xml"}, "Set LOG_FORMAT to json or line"),
        ({"LANE": "fast"}, "Set LANE to courier or plain"),
        ({"BROKER_URL": "amqp://rabbitmq//"}, "Set LANE=plain, or BROKER_URL to a Redis"),
        (
            {"BROKER_URL": "redis://a", "REDIS_URL": "http://a"},
            "ANGARIUM's REDIS_URL: Begin",
        ),
        ({"ANGARIUM_ALLOWED_PORTS": "0-99"}, "Write ports as in 443"),
        ({"ANGARIUM_ALLOWED_NETWORKS": "10.0.0.1/8"}, "Write a network as in"),
        ({"ANGARIUM_EGRESS_PROXY": "proxy:3128"}, "Write the egress proxy as"),
        ({"ANGARIUM_API_RATE": "many"}, "is not a rate"),
    ],
)
def test_what_would_fail_later_or_be_unsafe_stops_it_at_once(
    variables: dict[str, str], advice: str
) -> None:
    checked = check_deploy(**variables)
    assert checked.returncode != 0
    assert advice in checked.stderr


def test_a_project_without_an_encryption_key_is_told_by_the_check(configure: Configure) -> None:
    configure(ENCRYPTION_KEYS=[])
    with pytest.raises(SystemCheckError, match="ENCRYPTION_KEYS"):
        call_command("check")


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/admin/login/", "/api/docs/"])
def test_no_page_has_a_script_or_a_style_inside(path: str) -> None:
    page = Client().get(path).content.decode()
    assert "<style" not in page
    assert "style=" not in page
    assert page.count("<script") == page.count("<script src=")


@pytest.mark.django_db
def test_the_api_s_page_gets_its_script_from_here() -> None:
    page = Client().get("/api/docs/").content.decode()
    *_, own = re.findall('<script src="([^"]+)"', page)
    response = Client().get(html.unescape(own))
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("application/javascript")
    assert "SwaggerUIBundle" in response.content.decode()
