"""What the tests of the courier need beside the deliveries' fixtures."""

from collections.abc import Iterator

import pytest

from tests.deliveries.courier.turnstile import Turnstile


@pytest.fixture
def turnstile() -> Iterator[Turnstile]:
    turnstile = Turnstile()
    yield turnstile
    turnstile.open()
