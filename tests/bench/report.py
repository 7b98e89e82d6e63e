"""The figures as a table, and the ratios that say whether Angarium is quick."""

from rich.console import Console
from rich.table import Table

Results = dict[str, dict[str, float]]

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


def show(results: Results) -> None:
    figures = Table("figure", "", title="Figures")
    for name, values in results.items():
        # One request for fifty events is 0.02 requests an event, and not 0.0.
        shown = "   ".join(
            f"{key} {value:,.{1 if value >= 1 else 2}f}" for key, value in values.items()
        )
        figures.add_row(name, shown)
    ratios = Table("ratio", "is", "should be", title="Ratios, in this run")
    for name, (upper, upper_key), (lower, lower_key), bar in RATIOS:
        if upper in results and lower in results:
            ratio = results[upper][upper_key] / results[lower][lower_key]
            ratios.add_row(name, f"{ratio:.2f}", bar)
    console = Console(width=110)
    console.print(figures)
    console.print(ratios)


def show_profile(layers: dict[str, float]) -> None:
    table = Table("layer", "us a delivery", title="Where the courier's time goes")
    for layer, microseconds in layers.items():
        table.add_row(layer, f"{microseconds:.0f}")
    table.add_section()
    table.add_row("all", f"{sum(layers.values()):.0f}")
    Console(width=110).print(table)


def show_table(name: str, lines: list[str]) -> None:
    Console(width=140).print(f"\n{name}", *lines, sep="\n", markup=False, highlight=False)
