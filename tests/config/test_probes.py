"""/healthz, /readyz and /metrics, as machines ask for them."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpResponse
from django.test import Client

from config import probes
from config.embedded import free_port
from deliveries import bell
from tests.config.test_settings import PRODUCTION
from tests.conftest import Configure, Queue
from tests.processes import ROOT, database_url
from tests.prometheus import TOKEN, Samples

PATHS = ["/healthz", "/readyz", "/metrics"]


@pytest.fixture(autouse=True)
def not_asked_before() -> None:
    probes._ask_for_migrations.cache_clear()


def get(path: str, **headers: str) -> Any:
    return Client().get(path, headers=headers)


def test_a_process_is_healthy_without_a_look_at_the_database() -> None:
    # No test that may not use the database can reach it.
    answer = get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")


@pytest.mark.django_db
class TestReadiness:
    def test_with_everything_there_it_is_ready(self, queue: Queue) -> None:
        answer = get("/readyz")
        assert answer.status_code == 200
        assert answer.json() == {"broker": "ok", "database": "ok", "migrations": "ok"}

    def test_without_the_broker_it_is_ready_too_since_emit_works(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        away = bell.Bell(bell.app_or_default(), f"redis://127.0.0.1:{free_port()}/0")
        monkeypatch.setattr(bell, "_bell", lambda: away)
        answer = get("/readyz")
        assert answer.status_code == 200
        assert answer.json()["broker"] == "away"

    def test_while_a_migration_is_missing_it_is_not(self) -> None:
        MigrationRecorder.Migration.objects.filter(app="deliveries").latest("id").delete()
        answer = get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["migrations"] == "missing"

    def test_once_migrated_it_is(self) -> None:
        last = MigrationRecorder.Migration.objects.filter(app="deliveries").latest("id")
        last.delete()
        assert get("/readyz").status_code == 503
        last.save()
        assert get("/readyz").status_code == 200

    def test_without_the_database_it_is_not_and_tells_nobody_where_that_is(self) -> None:
        asked = subprocess.run(
            [
                sys.executable,
                "-c",
                "import django; django.setup()\n"
                "from django.test import Client\n"
                "answer = Client().get('/readyz')\n"
                "print(answer.status_code, answer.content.decode())",
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "DATABASE_URL": f"postgresql://shirin:rose@127.0.0.1:{free_port()}/away",
            },
            capture_output=True,
            text=True,
        )
        assert asked.stdout.startswith("503"), asked.stderr
        assert json.loads(asked.stdout[4:]) == {"broker": "ok", "database": "away"}


@pytest.mark.django_db
class TestMetrics:
    def ask(self, authorization: str | None) -> HttpResponse:
        headers = {} if authorization is None else {"Authorization": authorization}
        answer: HttpResponse = Client().get("/metrics", headers=headers)
        return answer

    def test_without_a_token_in_the_settings_nobody_may_read_them(
        self, configure: Configure
    ) -> None:
        for shown in (None, "Bearer ", "Bearer x", "Bearer"):
            answer = self.ask(shown)
            assert answer.status_code == 403
            assert b"angarium_" not in answer.content

    @pytest.mark.parametrize("shown", [None, "Bearer ", "Bearer wrong", TOKEN, f"Basic {TOKEN}"])
    def test_whoever_does_not_show_it_may_not(self, configure: Configure, shown: str) -> None:
        configure(METRICS_TOKEN=TOKEN)
        answer = self.ask(shown)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert b"angarium_" not in answer.content

    def test_whoever_shows_it_may(self, configure: Configure) -> None:
        configure(METRICS_TOKEN=TOKEN)
        answer = self.ask(f"Bearer {TOKEN}")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        samples = Samples(answer.content.decode())
        assert samples["angarium_reachable", "database"] == 1
        assert samples["angarium_reachable", "redis"] == 1

    def test_they_change_nothing(self, configure: Configure) -> None:
        configure(METRICS_TOKEN=TOKEN)
        answer = Client().post("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 405


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", PATHS)
def test_behind_tls_they_are_answered_without_it_and_by_address(path: str) -> None:
    asked = subprocess.run(
        [
            sys.executable,
            "-c",
            "import django; django.setup()\n"
            "from django.test import Client\n"
            f"answer = Client(SERVER_NAME='10.1.2.3').get({path!r},"
            f" headers={{'Authorization': 'Bearer {TOKEN}'}})\n"
            "print(answer.status_code)",
        ],
        cwd=ROOT,
        env={
            **os.environ,
            **PRODUCTION,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": database_url(),
            "ANGARIUM_METRICS_TOKEN": TOKEN,
        },
        capture_output=True,
        text=True,
    )
    assert asked.stdout.strip() == "200", asked.stderr


@pytest.mark.django_db
@pytest.mark.parametrize("path", PATHS)
def test_no_answer_is_kept_on_the_way(path: str) -> None:
    assert "no-store" in get(path).headers["Cache-Control"]


@pytest.mark.django_db
def test_no_answer_tells_a_secret(configure: Configure) -> None:
    configure(METRICS_TOKEN=TOKEN)
    text = b"".join(get(path, Authorization=f"Bearer {TOKEN}").content for path in PATHS).decode()
    hidden = [settings.SECRET_KEY, TOKEN, settings.REDIS_URL, connection.settings_dict["HOST"]]
    assert not [secret for secret in hidden if secret and secret in text]
