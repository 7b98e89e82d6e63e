"""Real workers and a real beat for the end-to-end tests, on the test's own database and broker."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from django.db import connection

from config.embedded import free_port
from tests import forking

ROOT = Path(__file__).parent.parent

DEFAULTS: Mapping[str, str] = {}
"""The waits of a system of which nothing is set."""

# Short waits, so that a test sees within seconds what takes minutes in earnest.
QUICK = {
    "ANGARIUM_RETRY_SCHEDULE": "1,1,1",
    "ANGARIUM_JITTER": "0",
    "ANGARIUM_TIMEOUT": "3",
    "ANGARIUM_LEASE_MARGIN": "1",
    "ANGARIUM_LOST_AFTER": "2",
    # An endpoint that fails is tried again; what its circuit does has tests of its own.
    "ANGARIUM_CIRCUIT_FAILURE_RATE": "0",
}


class Process:
    """A child in a process group of its own, so that a prefork worker ends with its children."""

    def __init__(self, log: Path, *arguments: str, environment: Mapping[str, str]) -> None:
        self.log = log
        self.command = " ".join(arguments)
        environment = {**os.environ, "DATABASE_URL": database_url(), **environment}
        self.child = forking.start(*arguments, environment=environment, log=log)

    @property
    def pid(self) -> int:
        assert self.child.pid is not None
        return self.child.pid

    @property
    def status(self) -> int | None:
        """Its exit status, as of `subprocess`: None while it runs, negative where killed."""
        return self.child.exitcode

    def wait_until_it_says(self, words: str, patience: float = 60) -> None:
        for_what = f"{words!r} in {self.log}"
        wait_until(lambda: words in self.text() or self.status is not None, for_what, patience)
        assert words in self.text(), f"{self.command} ended early:\n{self.text()[-4000:]}"

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        os.killpg(self.pid, number)

    def wait(self, patience: float | None = None) -> int | None:
        """Its exit status once it has ended; None where it outlasts the patience."""
        self.child.join(patience)
        return self.status

    def kill(self) -> None:
        """End the whole group at once, as a power cut would."""
        if self.status is None:
            self.send(signal.SIGKILL)
        self.wait()

    def stop(self, patience: float = 20) -> None:
        """Ask the process to end, and see to it that its group is gone."""
        if self.status is None:
            self.child.terminate()
            if self.wait(patience) is None:
                self.kill()
        with suppress(ProcessLookupError):
            self.send(signal.SIGKILL)  # to a child that has outlived its parent


@contextmanager
def worker(
    log: Path,
    *options: str,
    launcher: Sequence[str] = ("celery",),
    waits: Mapping[str, str] = QUICK,
    **environment: str,
) -> Iterator[Process]:
    """A Celery worker that is ready; `launcher` is the module that becomes Celery's command."""
    command = (*launcher, "-A", "config", "--quiet", "worker")
    options = ("--without-gossip", "--without-mingle", *options)
    with running(log, *command, *options, ready=" ready.", **{**waits, **environment}) as process:
        yield process


@contextmanager
def beat(log: Path, *, waits: Mapping[str, str] = QUICK, **environment: str) -> Iterator[Process]:
    """Celery beat with the schedules that the test's database holds."""
    command = ("celery", "-A", "config", "--quiet", "beat")
    options = ("--max-interval", "1", "--pidfile", "")
    ready = "beat: Starting"
    with running(log, *command, *options, ready=ready, **{**waits, **environment}) as process:
        yield process


@contextmanager
def web(log: Path, *options: str, **environment: str) -> Iterator[str]:
    """A web server with two processes, that serves; gives its URL."""
    address = f"127.0.0.1:{free_port()}"
    command = ("gunicorn", "config.wsgi", "--config", "python:config.gunicorn", *options)
    command += ("--bind", address, "--no-control-socket", "--workers", "2")
    with running(log, *command, ready="Listening at", **{**QUICK, **environment}):
        yield f"http://{address}"


@contextmanager
def running(log: Path, *command: str, ready: str, **environment: str) -> Iterator[Process]:
    """A Python module's process whose log has said that it is `ready`; it ends with the context."""
    process = Process(log, *command, environment=environment)
    try:
        process.wait_until_it_says(ready)
        yield process
    finally:
        process.stop()


def database_url() -> str:
    """The URL of the database that pytest-django made for the tests."""
    url = urlsplit(os.environ["DATABASE_URL"])
    return url._replace(path=f"/{connection.settings_dict['NAME']}").geturl()


def wait_until(
    holds: Callable[[], object], what: str, patience: float = 60, pause: float = 0.02
) -> None:
    """Return once `holds()` is true; fail with `what` was waited for when patience ends."""
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, f"waited {patience} s in vain for {what}"
        time.sleep(pause)
