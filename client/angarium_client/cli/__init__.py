"""`angarium`: the API, from a shell."""

from angarium_client.cli.commands import main

__all__ = ["main"]
