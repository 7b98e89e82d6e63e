"""What the commands share: how to write, and the server once one is needed."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import click

from angarium_client import AngariumError
from angarium_client.cli import login
from angarium_client.cli.output import Output
from angarium_client.client import Angarium


class Session:
    """One call of the command."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self._api: Angarium | None = None

    @property
    def api(self) -> Angarium:
        if self._api is None:
            known = login.read()
            self._api = Angarium(known.url, known.key)
        return self._api

    def close(self) -> None:
        """Let go of the connection to the server, if one was needed."""
        if self._api is not None:
            self._api.close()


class Commands(click.Group):
    """Ends with the error's message where the server, or the login, is the fault."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (AngariumError, login.NotLoggedIn) as error:
            raise click.ClickException(str(error)) from error


pass_session = click.make_pass_decorator(Session)

limit_option = click.option("--limit", default=50, show_default=True, help="So many rows at most.")


def only(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Some of what there is of a thing."""
    return {name: row[name] for name in names}


def parsed(text: str) -> Any:
    """What a person wrote as JSON."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.ClickException(f"This is no JSON: {error}") from error
