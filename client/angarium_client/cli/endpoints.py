"""Subscribers and their endpoints."""

import sys
from itertools import islice

import click

from angarium_client.cli.session import Session, limit_option, only, pass_session


@click.group()
def subscribers() -> None:
    """Your customers, or whoever else owns endpoints."""


@subscribers.command("list")
@click.option("--external-id", help="With this id in your own system.")
@limit_option
@pass_session
def list_subscribers(session: Session, external_id: str | None, limit: int) -> None:
    """List the subscribers, newest first."""
    found = session.api.subscribers(external_id=external_id)
    columns = ["id", "name", "external_id", "feature_flags", "created_at"]
    session.output.rows(columns, islice(found, limit))


@subscribers.command("add")
@click.argument("name")
@click.option("--external-id", help="Its id in your own system.")
@pass_session
def add_subscriber(session: Session, name: str, external_id: str | None) -> None:
    """Add a subscriber."""
    fields = {} if external_id is None else {"external_id": external_id}
    session.output.one(session.api.add_subscriber(name, **fields))


@click.group()
def endpoints() -> None:
    """The URLs that deliveries are POSTed to."""


@endpoints.command("list")
@click.option("--subscriber", help="Of this subscriber.")
@click.option("--state", help="In this state, as active or disabled.")
@limit_option
@pass_session
def list_endpoints(session: Session, /, limit: int, **wanted: str | None) -> None:
    """List the endpoints, newest first."""
    columns = ["id", "subscriber", "url", "state", "failing_since", "last_success_at"]
    session.output.rows(columns, islice(session.api.endpoints(**wanted), limit))


@endpoints.command("show")
@click.argument("id")
@pass_session
def show_endpoint(session: Session, id: str) -> None:
    """Show all that there is of an endpoint."""
    session.output.one(session.api.endpoint(id))


@endpoints.command("add")
@click.argument("subscriber")
@click.argument("url")
@click.argument("patterns", nargs=-1)
@click.option("--description", default="")
@pass_session
def add_endpoint(
    session: Session, subscriber: str, url: str, patterns: tuple[str, ...], description: str
) -> None:
    """Add an endpoint that gets the event types of these patterns; shows its secret, this once.

    \b
    angarium endpoints add sub_… https://example.com/webhooks 'invoice.*'
    """
    added = session.api.add_endpoint(subscriber, url, patterns, description=description)
    for warning in added["warnings"]:
        click.echo(warning, err=True)
    session.output.one(added if session.output.as_json else only(added, ["id", "url", "secret"]))


@endpoints.command("pause")
@click.argument("id")
@pass_session
def pause_endpoint(session: Session, id: str) -> None:
    """Hold an endpoint's deliveries back."""
    session.output.one(only(session.api.pause(id), ["id", "url", "state"]))


@endpoints.command("resume")
@click.argument("id")
@pass_session
def resume_endpoint(session: Session, id: str) -> None:
    """Deliver to an endpoint again, one that was disabled too."""
    session.output.one(only(session.api.resume(id), ["id", "url", "state"]))


@endpoints.command("delete")
@click.argument("id")
@click.confirmation_option(prompt="What it has not got is discarded. Go on?")
@pass_session
def delete_endpoint(session: Session, id: str) -> None:
    """Take an endpoint out of use."""
    session.api.delete_endpoint(id)
    session.output.say("Deleted.")


@endpoints.command("rotate-secret")
@click.argument("id")
@pass_session
def rotate_secret(session: Session, id: str) -> None:
    """Give an endpoint a new signing secret; the one before signs too, for a while."""
    session.output.one(session.api.rotate_secret(id))


@endpoints.command("test")
@click.argument("id")
@pass_session
def test_endpoint(session: Session, id: str) -> None:
    """Send an endpoint a test event; show request and answer."""
    exchange = session.api.test(id)
    session.output.one(exchange)
    if exchange["outcome"] != "delivered":
        sys.exit(1)
