"""What docs/subscribing.md teaches is so."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from subscriptions.explaining import Occurrence, explain
from subscriptions.models import Subscription
from tests.api_client import api as api
from tests.conftest import MakeEndpoint

PAGE = (Path(__file__).parents[2] / "docs" / "subscribing.md").read_text()
JSON = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
WISHES, DATA, TRIED, TRIALS = JSON


def table(title: str) -> list[list[str]]:
    """The rows of the first table below a title, its head among them."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    cells = [re.split(r" (?<!\\)\| ", row.strip("| ")) for row in rows if "---" not in row]
    return [[cell.replace("\\|", "|") for cell in row] for row in cells]


def code(cell: str) -> str:
    return cell[1:-1]


def names(cell: str) -> list[str]:
    return re.findall("`([^`]+)`", cell)


def gets(event: Occurrence, **asked: Any) -> str:
    subscription = Subscription(**{"pattern": "*", **asked})
    subscription.clean_fields(exclude=["endpoint"])
    explanation = explain(event, subscription)
    assert explanation.verdict is None or not explanation.verdict.error
    return "yes" if explanation.matched else "no"


def test_patterns_match_as_the_page_says() -> None:
    [_, *types], *rows = table("Patterns")
    assert len(rows) == 3
    for pattern, *said in rows:
        found = [gets(Occurrence(code(one), [], {}), pattern=code(pattern)) for one in types]
        assert found == said, pattern


def test_channels_match_as_the_page_says() -> None:
    [_, *asked], *rows = table("Channels")
    assert len(rows) == 4
    for channels, *said in rows:
        event = Occurrence("a", names(channels), {})
        assert [gets(event, channels=names(one)) for one in asked] == said, channels


@pytest.mark.parametrize(("expression", "said"), [row[:2] for row in table("Filters")[1:]])
def test_filters_match_as_the_page_says(expression: str, said: str) -> None:
    assert gets(Occurrence("a", [], DATA), filter=code(expression)) == said


def test_what_the_page_says_has_no_value_has_none() -> None:
    [bad, good] = re.findall(r"`(starts_with\(note.*?|note && .*?)`", PAGE)
    event = Occurrence("a", [], DATA)
    reasons = [explain(event, Subscription(pattern="*", filter=one)).reason for one in (bad, good)]
    assert reasons == ["filter_failed", "filter"]


@pytest.mark.django_db
def test_the_list_of_wishes_is_taken(api: APIClient, make_endpoint: MakeEndpoint) -> None:
    path = f"/api/v1/endpoints/{make_endpoint().pk}/"
    assert api.patch(path, {"subscriptions": WISHES}).status_code == 200
    assert Subscription.objects.count() == len(WISHES)


@pytest.mark.django_db
def test_the_subscription_of_the_page_is_taken(api: APIClient, make_endpoint: MakeEndpoint) -> None:
    [text] = re.findall(r"-d '(.*)'", PAGE)
    asked = {**json.loads(text), "endpoint": make_endpoint("a").pk}
    assert api.post("/api/v1/subscriptions/", asked).status_code == 201


@pytest.mark.django_db
def test_the_trial_of_the_page_has_the_answer_of_the_page(api: APIClient) -> None:
    assert api.post("/api/v1/events/try-subscription/", TRIED).json() == TRIALS
