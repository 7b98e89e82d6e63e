import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import IntegrityError

from subscriptions.models import ApiKey
from subscriptions.rates import InvalidRate, Rate
from tests.conftest import Configure

BAD = ["100", "/s", "0/s", "-1/s", "1.5/s", "100/w", "100 /s", "100/s ", "1e3/s", "9" * 10 + "/s"]


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/s", Rate(100, 1)),
        ("1/m", Rate(1, 60)),
        ("50/h", Rate(50, 3600)),
        ("999999999/d", Rate(999_999_999, 86400)),
    ],
)
def test_a_rate_is_read(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate


@pytest.mark.parametrize("text", ["", "100/s\n", *BAD])
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidRate, match="as in 100/s"):
        Rate.parse(text)


@pytest.mark.django_db
@pytest.mark.parametrize("text", BAD)
def test_a_key_has_no_rate_that_is_none(text: str) -> None:
    with pytest.raises(ValidationError):
        ApiKey(name="a", rate=text).clean_fields(exclude=["id", "prefix", "hashed_key"])
    with pytest.raises(IntegrityError):
        ApiKey.objects.create_key(name="a", rate=text[:12])


def test_the_check_finds_a_setting_that_is_no_rate(configure: Configure) -> None:
    configure(API_RATE="100 a second")
    with pytest.raises(SystemCheckError, match="'100 a second' is not a rate"):
        call_command("check")
    configure(API_RATE="")
    call_command("check")
