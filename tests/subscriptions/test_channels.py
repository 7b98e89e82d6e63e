from typing import Any

import pytest

from subscriptions.channels import InvalidChannels, normalized


@pytest.mark.parametrize(
    ("given", "channels"),
    [
        ([], []),
        (["b", "a", "b"], ["a", "b"]),
        (("eu", "project-42", "a_b.c:d"), ["a_b.c:d", "eu", "project-42"]),
        (["x" * 128], ["x" * 128]),
        ([str(n % 10) for n in range(100)], [str(n) for n in range(10)]),
    ],
)
def test_channels_come_in_order_and_once(given: Any, channels: list[str]) -> None:
    assert normalized(given) == channels


@pytest.mark.parametrize(
    "given",
    [
        *["eu", 5, None, [5], [None], [""], ["a b"], ["a,b"], ["é"], ["a\n"], ["x" * 129], [["a"]]],
        [str(n) for n in range(11)],
    ],
)
def test_what_is_no_list_of_a_few_channels_is_refused(given: Any) -> None:
    with pytest.raises(InvalidChannels):
        normalized(given)
