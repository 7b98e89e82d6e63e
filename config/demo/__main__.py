"""The whole system from nothing, with receivers of every temper, and a table to watch it by.

Whatever is started here ends here: at the end, on Ctrl-C, on SIGTERM, and on a failure.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from rich.console import Console
from rich.live import Live

from config.demo import board, check, system
from config.demo.cast import RECEIVERS
from config.demo.databases import fresh_database
from config.demo.processes import Child, ChildFailed, Processes
from config.demo.registration import Api, ApiRefused, register, register_event_types
from config.demo.signals import EndSignals
from config.embedded import free_port, servers
from deliveries.event_lines import parse

ROOT = Path(__file__).parents[2]
EVENTS = Path(__file__).with_name("events.jsonl")
PATIENCE = 120.0
"""Seconds in which every delivery should have ended."""
REFRESH = 0.2
INTERRUPTED = 130


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m config.demo", description=__doc__)
    parser.add_argument(
        "--once",
        action="store_true",
        help="end by itself: exit 0 if every delivery ended as it should have, 1 if not",
    )
    once: bool = parser.parse_args().once
    console = Console(highlight=False)
    (ROOT / ".demo").mkdir(exist_ok=True)
    logs = Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=ROOT / ".demo"))
    try:
        differences = demonstrate(console, EndSignals(), logs, once=once)
    except KeyboardInterrupt:
        code = INTERRUPTED if once else 0
    except ChildFailed as failure:
        console.print(board.failure(str(failure), failure.last_lines), soft_wrap=True)
        code = 1
    except (ApiRefused, psycopg.OperationalError) as error:
        console.print(board.failure(str(error)), soft_wrap=True)
        code = 1
    else:
        code = 1 if differences else 0
    if code == 1 and any(logs.iterdir()):
        console.print(f"The logs are in {logs.relative_to(ROOT)}/")
    else:
        shutil.rmtree(logs)
    return code


def demonstrate(console: Console, signals: EndSignals, logs: Path, *, once: bool) -> list[str]:
    """Play the demo; returns in what the outcome differs from what it should be."""
    with ExitStack() as stack:
        with step(console, "PostgreSQL and Valkey"), signals.shield():
            addresses = stack.enter_context(servers())
            database = stack.enter_context(fresh_database(addresses["DATABASE_URL"]))
            receivers_database = stack.enter_context(fresh_database(addresses["DATABASE_URL"]))
        angarium = stack.enter_context(psycopg.connect(database, autocommit=True))
        receivers = stack.enter_context(psycopg.connect(receivers_database, autocommit=True))
        processes = stack.enter_context(
            Processes(
                ROOT,
                logs=logs,
                environment=system.environment(database, broker=addresses["REDIS_URL"]),
                signals=signals,
            )
        )
        stack.callback(console.print, "[dim]Ending all that was started.[/]")
        stack.callback(signals.ignore)

        with step(console, "Tables"):
            system.make_tables(processes)
        with step(console, "Web server, worker, beat; an admin, an API key"):
            web = system.start_services(processes)
            access = board.Access(
                web, password=system.make_admin(processes), key=system.make_api_key(processes)
            )
            processes.wait_until_ready()
        with step(console, "Four receivers, registered through the API"):
            events = [parse(line) for line in EVENTS.read_bytes().splitlines()]
            api = Api(f"{web}/api/v1", access.key)
            register_event_types(api, {event.type for event in events})
            hooks = f"127.0.0.1:{free_port()}"
            registrations = [
                register(api, receiver, f"http://{hooks}/{receiver.name}/")
                for receiver in RECEIVERS
            ]
            system.start_receivers(processes, hooks, receivers_database, registrations)
            processes.wait_until_ready()

        show = board.Board(angarium, registrations, None if once else access)
        emission = processes.begin("emit", "manage.py", "emit", str(EVENTS))
        watch(console, show, processes, emission, once=once)

        differences = [
            difference
            for registration in registrations
            for difference in check.differences(
                registration.receiver,
                events,
                check.ends(angarium, registration),
                check.arrivals(receivers, registration),
                max_attempts=system.MAX_ATTEMPTS,
            )
        ]
        console.print(board.verdict(differences))
        return differences


def watch(
    console: Console, show: board.Board, processes: Processes, emission: Child, *, once: bool
) -> None:
    """Keep the table up to date: until every delivery has ended, or else until a signal comes."""
    deadline = time.monotonic() + PATIENCE
    with Live(console=console, auto_refresh=False) as live:
        while True:
            all_emitted = not emission.is_running()
            standings = show.standings()
            headline = emission.said().strip() or "emitting events"
            live.update(show.draw(standings, headline, console.width), refresh=True)
            processes.watch()
            ended = all_emitted and not any(standing.open for standing in standings.values())
            if once and (ended or time.monotonic() > deadline):
                return
            time.sleep(REFRESH)


@contextmanager
def step(console: Console, what: str) -> Iterator[None]:
    began = time.monotonic()
    with console.status(what):
        yield
    console.print(f"[green]✓[/] {what:<48}[dim]{time.monotonic() - began:5.1f} s[/]")


if __name__ == "__main__":
    sys.exit(main())
