"""The figures as a table, and the ratios that say whether Angarium is quick."""

from rich.console import Console
from rich.table import Table

from tests.processes import ROOT
from tests.tables import as_lines, put_table

PAGE = ROOT / "docs" / "performance.md"
HEADS = {
    "figures": ("figure", "the median of the rounds"),
    "ratios": ("ratio", "is", "should be"),
    "profile": ("layer", "us a delivery"),
}

Results = dict[str, dict[str, float]]
Rows = list[tuple[str, ...]]

# What is compared: its name, the figures, and what it should be at the least.
RATIOS = [
    ("courier CPU / noop CPU", ("courier", "cpu_us"), ("noop", "cpu_us"), "<= 0.40, aim 0.22"),
    ("courier rate / noop rate", ("courier", "rate"), ("noop", "rate"), ">= 2.0, aim 3.5"),
    ("courier2 rate / courier rate", ("courier2", "rate"), ("courier", "rate"), ""),
    ("emit to 10,000 / to 1", ("emit", "10000_p50_ms"), ("emit", "1_p50_ms"), "<= 3, aim 1.5"),
    ("latency / stock task's", ("latency", "p50_ms"), ("latency", "stock_p50_ms"), "<= 1.5, aim 1"),
    (
        "isolation: p99 with / without",
        ("isolation", "with_p99_ms"),
        ("isolation", "without_p99_ms"),
        "<= 2, aim 1.2",
    ),
    (
        "mixed: among countdowns / alone",
        ("mixed", "among_countdowns_rate"),
        ("mixed", "alone_rate"),
        ">= 0.8, aim 0.95",
    ),
    ("batches of 50 / of 1, rate", ("batches", "50_rate"), ("batches", "1_rate"), ""),
    ("growth: grown / empty", ("growth", "grown_rate"), ("growth", "empty_rate"), ">= 0.85"),
]


def figures(results: Results) -> Rows:
    # One request for fifty events is 0.02 requests an event, and not 0.0.
    return [
        (
            name,
            ", ".join(
                f"{key.replace('_', ' ')} {value:,.{1 if value >= 1 else 2}f}"
                for key, value in values.items()
            ),
        )
        for name, values in results.items()
    ]


def ratios(results: Results) -> Rows:
    return [
        (name, f"{results[upper][upper_key] / results[lower][lower_key]:.2f}", bar)
        for name, (upper, upper_key), (lower, lower_key), bar in RATIOS
        if upper in results and lower in results
    ]


def layers(profile: dict[str, float]) -> Rows:
    whole = ("all", f"{sum(profile.values()):.0f}")
    return [*((layer, f"{us:.0f}") for layer, us in profile.items()), whole]


def show(name: str, rows: Rows, *, write: bool) -> None:
    """Print a table, and put it into its page if that is wanted."""
    table = Table(*HEADS[name], title=name.capitalize())
    for row in rows:
        table.add_row(*row)
    Console(width=110).print(table)
    if write:
        put_table(PAGE, name, as_lines(HEADS[name], rows))


def show_table(name: str, lines: list[str]) -> None:
    Console(width=140).print(f"\n{name}", *lines, sep="\n", markup=False, highlight=False)
