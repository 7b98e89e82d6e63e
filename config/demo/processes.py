"""The demo's children: started with a log each, watched, and ended with all that they started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from config.demo.signals import EndSignals

PATIENCE = 60.0
"""Seconds that a child may take to get ready, or to do its task."""
GRACE = 10.0
"""Seconds that all children together have to end in, once they are told to."""
LAST_LINES = 15


@dataclass(frozen=True, slots=True)
class Child:
    """A process that leads a session, and so a group, of its own."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    ready: str | None
    """What a server's log says once it serves; None for a task, which ends by itself."""

    def is_running(self) -> bool:
        return self.process.poll() is None

    def is_ready(self) -> bool:
        return self.ready is None or self.ready in self.said()

    def said(self) -> str:
        return self.log.read_text(errors="replace")


class ChildFailed(Exception):
    """A child ended badly, or too early, or takes too long."""

    def __init__(self, child: Child, failure: str) -> None:
        super().__init__(f"{child.name} {failure}")
        self.log = child.log
        self.last_lines = child.said().splitlines()[-LAST_LINES:]


class Processes:
    """Python modules run as children in one environment; all have ended when the context ends."""

    def __init__(
        self, directory: Path, *, logs: Path, environment: Mapping[str, str], signals: EndSignals
    ) -> None:
        self.directory = directory
        self.logs = logs
        self.environment = environment
        self.signals = signals
        self.children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        # A task that has ended left no group behind, and its number may be another's by now.
        children = [child for child in self.children if child.is_running() or child.ready]
        for child in children:
            child.process.terminate()
        deadline = time.monotonic() + GRACE
        for child in children:
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, deadline - time.monotonic()))
            with suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()

    def serve(self, name: str, *command: str, ready: str, **environment: str) -> None:
        """Start a server, whose log says `ready` in time."""
        self._start(name, command, environment, ready)

    def wait_until_ready(self) -> None:
        for child in self.children:
            self._wait(child, child.is_ready)

    def begin(self, name: str, *command: str, **environment: str) -> Child:
        """Start a task."""
        return self._start(name, command, environment, ready=None)

    def run(self, name: str, *command: str, **environment: str) -> str:
        """Run a task to its end; returns what it said."""
        task = self.begin(name, *command, **environment)
        self._wait(task, lambda: not task.is_running())
        return task.said()

    def watch(self) -> None:
        """Raise ChildFailed if a task has failed or a server has ended."""
        for child in self.children:
            code = child.process.poll()
            if code is not None and (child.ready or code != 0):
                raise ChildFailed(child, f"ended with exit code {code}")

    def _wait(self, child: Child, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            self.watch()
            if time.monotonic() > deadline:
                raise ChildFailed(child, f"took more than {PATIENCE:.0f} s")
            time.sleep(0.05)
        self.watch()

    def _start(
        self, name: str, command: tuple[str, ...], environment: Mapping[str, str], ready: str | None
    ) -> Child:
        log = self.logs / f"{name}.log"
        with self.signals.shield(), log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.directory,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            child = Child(name, process, log, ready)
            self.children.append(child)
        return child
