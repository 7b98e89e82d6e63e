"""Jobs that the server does bit by bit: followed until they have ended."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from angarium_client.cli.output import Output

PAUSE = 1.0
"""Seconds between two looks."""

follow_option = click.option(
    "--follow", is_flag=True, help="Wait until it has ended, and show how far it is."
)


def follow(
    output: Output,
    look: Callable[[], Any],
    share: Callable[[Any], float],
    sentence: Callable[[Any], str],
) -> None:
    """Show a job's `share` of its work (0 to 1) as a bar until it has ended; in JSON changes."""
    before: Mapping[str, Any] = {}
    says = TextColumn("{task.description}", markup=False)
    columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), says)
    with Progress(*columns, console=output.console, disable=output.as_json) as progress:
        bar = progress.add_task("", total=1.0)
        while True:
            job = look()
            progress.update(bar, completed=share(job), description=sentence(job))
            if output.as_json and job != before:
                output.line(job)
            if job["ended_at"] is not None:
                return
            before = job
            time.sleep(PAUSE)
