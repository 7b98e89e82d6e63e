"""The processes that are measured, and the CPU that they and their children take."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from tests.processes import ROOT


def family_of(pid: int) -> list[psutil.Process]:
    """A process and its descendants."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def cpu_of(family: Iterable[psutil.Process]) -> float:
    """Seconds of CPU of these processes and of those of their children that have ended."""
    seconds = 0.0
    for one in family:
        with suppress(psutil.NoSuchProcess):  # it has ended just now, and counts as its parent's
            seconds += sum(one.cpu_times()[:4])
    return seconds


class Measured:
    """A process and its descendants."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path) -> None:
        self.child = child
        self.log = log

    def cpu(self) -> float:
        """Seconds of CPU that the process and its children have taken."""
        return cpu_of(family_of(self.child.pid))

    def memory(self) -> int:
        """Bytes of its own that the family holds (USS)."""
        return sum(one.memory_full_info().uss for one in family_of(self.child.pid))


class Receiver:
    """The receiving endpoint, seen from here."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def reset(self) -> None:
        self._get("/reset")

    def received(self) -> dict[str, list[float]]:
        """When each message came, by its id."""
        report: dict[str, list[float]] = json.loads(self._get("/report"))
        return report

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=60) as response:
            body: bytes = response.read()
            return body


@contextmanager
def running(
    log: Path,
    *arguments: str,
    stdin: int | None = None,
    stdout: IO[bytes] | int | None = None,
    **environment: str,
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=stdin,
            stdout=stdout or output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, 9)
            child.wait()


@contextmanager
def receiver(logs: Path) -> Iterator[Receiver]:
    log = logs / "receiver.log"
    with running(log, "tests.bench.receiver", stdout=subprocess.PIPE) as child:
        assert child.stdout
        yield Receiver(int(child.stdout.readline()))


class Spoken:
    """A process that is spoken to by its standard input and output, a line at a time."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.process = psutil.Process(child.pid)
        assert child.stdin
        assert child.stdout
        self._in, self._out = child.stdin, child.stdout

    def say(self, line: str) -> None:
        self._in.write(f"{line}\n".encode())
        self._in.flush()

    def hear(self) -> str:
        return self._out.readline().decode()


@contextmanager
def spoken(log: Path, *arguments: str) -> Iterator[Spoken]:
    with running(log, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        yield Spoken(child)


@contextmanager
def on_cores(whose: list[psutil.Process], cores: list[int]) -> Iterator[None]:
    """Keep processes, and what they start from now on, to some of the machine's cores."""
    before = [(process, process.cpu_affinity()) for process in whose]
    for process in whose:
        process.cpu_affinity(cores)
    yield
    for process, others in before:
        with suppress(psutil.NoSuchProcess):
            process.cpu_affinity(others)


@contextmanager
def worker(
    logs: Path,
    name: str,
    *options: str,
    app: str = "config",
    profile: Path | None = None,
    **env: str,
) -> Iterator[Measured]:
    """A worker that is ready and consumes nothing yet, named so that it can be told to begin.

    It leaves a profile of its CPU time in the file `profile`, where one is given.
    """
    log = logs / f"{name}-{time.monotonic_ns()}.log"
    arguments = (
        *(("tests.bench.profiled", str(profile)) if profile else ("celery",)),
        *("-A", app, "worker", "--hostname", f"{name}@bench", "--loglevel", "WARNING"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat", "-Q", f"idle-{name}"),
        *options,
    )
    with running(log, *arguments, **env) as child:
        yield Measured(child, log)
