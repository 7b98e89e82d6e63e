"""The pages explain every value that people meet."""

import re

from deliveries.models import DeadLetter
from deliveries.subscriber_export import COLUMNS
from tests.processes import ROOT


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def test_why_a_delivery_was_given_up_and_what_became_of_it_are_in_the_tables() -> None:
    explained = re.findall(r"^\| `(\w+)` \|", page("dead-letters.md"), re.MULTILINE)
    choices = [*DeadLetter.Reason.values, "open", *DeadLetter.Resolution.values]
    assert explained == choices


def test_every_kind_of_record_of_an_export_is_named() -> None:
    text = page("retention.md")
    assert [kind for kind in COLUMNS if f"`{kind}`" not in text] == []
