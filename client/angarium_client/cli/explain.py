"""Why an event was delivered to an endpoint, or was not."""

import click
from rich.table import Table
from rich.text import Text

from angarium_client.cli.output import Output, cell, shown, tone
from angarium_client.cli.session import Session, pass_session
from angarium_client.cli.times import local
from angarium_client.shapes import Explanation, Moment, Subscribed

STEPS = {
    "dns_ms": "DNS",
    "connect_ms": "connect",
    "tls_ms": "TLS",
    "first_byte_ms": "first byte",
    "duration_ms": "total",
}


@click.command()
@click.argument("id")
@click.argument("endpoint", required=False)
@pass_session
def explain(session: Session, id: str, endpoint: str | None) -> None:
    """Tell what became of an event at an endpoint, why, and what happens next.

    \b
    angarium explain evt_… ep_…
    angarium explain dlv_…
    """
    if id.startswith("dlv_"):
        delivery = session.api.delivery(id)
        explanation = session.api.explain(delivery["event"], delivery["endpoint"])
    elif endpoint is not None:
        explanation = session.api.explain(id, endpoint)
    else:
        raise click.UsageError("Name the endpoint too, or a delivery: angarium explain evt_… ep_…")
    if session.output.as_json:
        session.output.line(explanation)
    else:
        _show(session.output, explanation)


def _show(output: Output, explanation: Explanation) -> None:
    said = Table(box=None, show_header=False, pad_edge=False)
    said.add_column(style="bold", no_wrap=True)
    said.add_column(overflow="fold")
    matching, outlook = explanation["matching"], explanation["next"]
    state = explanation["state"] or ""
    said.add_row("How it stands", Text(shown(explanation["answer"]), style=tone(state)))
    said.add_row("What happens next", shown(outlook["explanation"]))
    if outlook["at"]:
        said.add_row("When", cell(outlook["at"]))
    said.add_row("Who asked for it", shown(matching["explanation"]))
    for subscription in matching["subscriptions"]:
        said.add_row("", Text(_asked(subscription), style="" if subscription["matched"] else "dim"))
    output.console.print(said)
    timeline = Table(header_style="bold")
    for column in ("at", "state"):
        timeline.add_column(column, no_wrap=True)
    for column in ("what happened", "by"):
        timeline.add_column(column, overflow="fold")
    for moment in explanation["timeline"]:
        timeline.add_row(_at(moment), cell(moment["state"]), _what(moment), shown(moment["by"]))
    output.console.print(timeline)


def _asked(subscription: Subscribed) -> str:
    since = subscription["changed_at"] and (subscription["change"] or "made")
    told = f" Since the event: {since}." if since else ""
    pattern, explanation = subscription["pattern"], subscription["explanation"]
    return shown(f"{subscription['id']} “{pattern}”: {explanation}{told}")


def _at(moment: Moment) -> str:
    at = local(moment["at"])
    return f"{at:%Y-%m-%d %H:%M:%S.%f}"[:-3] if at else shown(moment["at"])


def _what(moment: Moment) -> Text:
    what = Text(shown(moment["explanation"]))
    attempt = moment["attempt"]
    if attempt is not None:
        steps = {name: attempt[step] for step, name in STEPS.items()}  # type: ignore[literal-required]
        taken = ", ".join(f"{name} {ms} ms" for name, ms in steps.items() if ms is not None)
        what.append(f"\n{taken}", style="dim")
    return what
