"""`angarium` itself: which server, and the commands that there are."""

import click

from angarium_client import Angarium, Forbidden, Unauthorized
from angarium_client.cli import login as logins
from angarium_client.cli.dead_letters import dead_letters
from angarium_client.cli.deliveries import deliveries, delivery, discard, retry, tail
from angarium_client.cli.endpoints import endpoints, subscribers
from angarium_client.cli.events import emit, event, events
from angarium_client.cli.explain import explain
from angarium_client.cli.output import Output
from angarium_client.cli.replay import replay
from angarium_client.cli.session import Commands, Session, pass_session


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="Write JSON, a line for each row.")
@click.version_option(package_name="angarium-client")
@click.pass_context
def main(context: click.Context, as_json: bool) -> None:
    """Emit events to Angarium, and look after their delivery.

    \b
    angarium login https://webhooks.example.com
    angarium emit invoice.paid '{"id": 42}'
    angarium tail
    """
    context.obj = Session(Output(as_json=as_json))
    context.call_on_close(context.obj.close)


@main.command()
@click.argument("url")
@click.option("--key", prompt="API key", hide_input=True, help="Asked for, if not given.")
@pass_session
def login(session: Session, url: str, key: str) -> None:
    """Keep the server's URL and an API key, which `manage.py create_api_key` makes."""
    try:
        with Angarium(url, key) as angarium:
            next(angarium.subscribers(), None)
    except Forbidden:
        pass  # a key that may only emit is a key
    except Unauthorized as error:
        raise click.ClickException(f"{error} Nothing is kept.") from error
    logins.write(logins.Login(url, key))
    session.output.say(f"Logged in at {url}.")


@main.command()
@pass_session
def logout(session: Session) -> None:
    """Forget the server and the key."""
    logins.forget()
    session.output.say("Logged out.")


for command in (
    *(emit, events, event),
    *(deliveries, delivery, tail, explain, retry, discard, dead_letters, replay),
    *(subscribers, endpoints),
):
    main.add_command(command)
