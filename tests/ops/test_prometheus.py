"""The alerts and the dashboard ask for what /metrics shows, and ring when they should."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import install_schedules
from tests.deliveries.metrics.conftest import Scrape
from tests.deliveries.metrics.conftest import nothing_counted as nothing_counted
from tests.deliveries.metrics.conftest import redis as redis
from tests.deliveries.metrics.conftest import scrape as scrape
from tests.processes import ROOT

ALERTS = ROOT / "ops" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "ops" / "grafana" / "angarium.json"
MANUAL = (ROOT / "docs" / "operating.md").read_text()

RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
]

promtool = shutil.which("promtool")
with_promtool = pytest.mark.skipif(
    promtool is None, reason="promtool is not installed (it comes with Prometheus)"
)


def queries() -> Iterator[str]:
    """Each query of the dashboard."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"]


def run(*arguments: str | Path) -> None:
    done = subprocess.run([str(promtool), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def asked_for(text: str) -> set[str]:
    return set(re.findall(r"angarium_\w+", text))


@pytest.mark.django_db
def test_what_they_ask_for_is_shown(scrape: Scrape) -> None:
    install_schedules()
    shown = scrape().names()
    wanted = asked_for(" ".join([rule["expr"] for rule in RULES] + list(queries())))
    assert len(wanted) > 10
    assert wanted - shown == set()


@pytest.mark.django_db
def test_what_is_shown_stands_in_the_manual_and_the_dashboard(scrape: Scrape) -> None:
    for name, kind in scrape().kinds.items():
        said = f"{name}_total" if kind == "counter" else name
        assert f"`{said}`" in MANUAL
        assert any(name in query for query in queries()), name


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "runbook"}
    assert f"\n### {rule['alert']}\n" in MANUAL


def test_dead_letters_ring_by_their_number_and_by_the_age_of_the_oldest() -> None:
    asked = {rule["alert"]: asked_for(rule["expr"]) for rule in RULES}
    assert asked["AngariumDeadLetters"] == {"angarium_dead_letters"}
    assert asked["AngariumOldDeadLetter"] == {"angarium_oldest_dead_letter_seconds"}


@with_promtool
def test_prometheus_takes_the_alerts() -> None:
    run("check", "rules", ALERTS)


@with_promtool
def test_they_ring_when_they_should_and_not_when_all_is_well() -> None:
    run("test", "rules", ROOT / "tests" / "ops" / "alerts_test.yml")


@with_promtool
def test_prometheus_takes_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries())
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    run("check", "rules", file)
