import signal
from collections.abc import Iterator

import pytest

from config.demo.signals import EndSignals


@pytest.fixture
def signals() -> Iterator[EndSignals]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield EndSignals()
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
