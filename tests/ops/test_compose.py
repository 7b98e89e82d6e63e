"""The overrides of docker-compose.yml in ops/compose."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from config.broker_url import broker_at
from tests.config.test_containers import OURS, VARIABLES
from tests.processes import ROOT

OVERRIDES = sorted((ROOT / "ops" / "compose").glob("*.yml"))


def services(override: Path) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(override.read_text())["services"]
    return read


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda path: path.stem)
def test_each_of_our_services_gets_the_same_variables_which_the_settings_read(
    override: Path,
) -> None:
    given = [services(override)[service]["environment"] for service in OURS]
    assert all(one == given[0] for one in given)
    assert set(given[0]) - VARIABLES == set()


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda path: path.stem)
def test_its_broker_is_one_that_the_settings_take(override: Path) -> None:
    given = services(override)["worker"]["environment"]
    broker_at(given.get("BROKER_URL") or given["REDIS_URL"], given.get("LANE", "courier"))
