"""The demo as a user runs it, on servers of its own."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.processes import wait_until

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(240)


class Demo:
    """A demo under way, with a directory for temporary files that nobody else uses.

    By that directory one knows what it has started: it is in PostgreSQL's command line, Valkey
    works in it, and the others have it in their environment.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        self.temporary = directory / "t"
        self.temporary.mkdir()
        self.output = directory / "output"
        own_servers = {
            name: value
            for name, value in os.environ.items()
            if name not in ("DATABASE_URL", "REDIS_URL")
        }
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "config.demo", *options],
                cwd=ROOT,
                env={**own_servers, "TMPDIR": str(self.temporary)},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.output.read_text()

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess):
                if str(self.temporary) in traces(process):
                    found.append(process)
        return found

    def directories_left(self) -> list[Path]:
        """The lock file that all PostgreSQL servers of the wheel share may stay."""
        return [path for path in self.temporary.iterdir() if path.is_dir()]


def traces(process: psutil.Process) -> str:
    """Where a process may show which temporary directory it was given."""
    command = " ".join(process.cmdline())
    try:
        return f"{command} {process.cwd()} {process.environ().get('TMPDIR')}"
    except psutil.AccessDenied:
        return command


@pytest.fixture
def start() -> Iterator[Callable[..., Demo]]:
    demos = []

    # Not pytest's own directory: the path of PostgreSQL's socket must be short.
    with tempfile.TemporaryDirectory() as directory:

        def start(*options: str) -> Demo:
            demos.append(Demo(Path(directory), *options))
            return demos[-1]

        yield start
        for demo in demos:
            for process in demo.processes():
                process.kill()
            demo.process.wait()


def test_every_delivery_of_the_demo_ends_as_it_should_and_nothing_is_left_behind(
    start: Callable[..., Demo],
) -> None:
    demo = start("--once")
    assert demo.process.wait(200) == 0, demo.said()
    assert "Every delivery ended as it should have." in demo.said()
    assert demo.processes() == []
    assert demo.directories_left() == []


@pytest.mark.parametrize(
    ("number", "moment", "running"),
    [
        (signal.SIGINT, "✓ PostgreSQL", ["postgres", "valkey"]),
        (signal.SIGTERM, "✓ Four", ["postgres", "valkey", "gunicorn", "worker", "beat"]),
    ],
)
def test_the_demo_ends_all_that_it_started_when_it_is_told_to(
    start: Callable[..., Demo], number: signal.Signals, moment: str, running: list[str]
) -> None:
    demo = start()
    wait_until(lambda: moment in demo.said(), f"{moment!r} in {demo.output}")
    commands = "\n".join(" ".join(process.cmdline()) for process in demo.processes())
    assert [name for name in running if name not in commands] == []

    demo.process.send_signal(number)
    assert demo.process.wait(60) == 0, demo.said()
    assert demo.processes() == []
    assert demo.directories_left() == []
