import os
import signal

import pytest

from config.demo.signals import EndSignals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts_once_and_does_not_disturb_the_end(
    signals: EndSignals, number: signal.Signals
) -> None:
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)


def test_a_signal_waits_for_the_end_of_what_is_shielded(signals: EndSignals) -> None:
    done = []

    def start() -> None:
        with signals.shield():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("started")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert done == ["started"]


def test_a_signal_is_no_matter_when_the_end_has_come_anyway(signals: EndSignals) -> None:
    signals.ignore()
    os.kill(os.getpid(), signal.SIGTERM)
