"""Charts of plain data: where each bar, line and label stands, in the units of an SVG's view box.

The drawing is written down by the tags in templatetags/charts.py, and coloured by charts.css.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

WIDTH, HEIGHT = 960, 216
HALF = 460
"""The width of a chart that has another beside it."""
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 10, 24
GAP = 0.18
"""Between two bars, as a share of what a column has."""
WIDEST = 96
"""A bar of few has no more than this."""
TICKS = 4
LABELS = 7
THINNEST = 1.5
"""A bar of little more than nothing can be seen all the same."""


@dataclass(frozen=True, slots=True)
class Series:
    """What is drawn in one colour: that of its tone (see charts.css)."""

    name: str
    tone: str


@dataclass(frozen=True, slots=True)
class Value:
    """How much; None where nobody knows. And where that leads to."""

    amount: float | None
    href: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """The values at one place of the horizontal axis, one for each series."""

    label: str
    """What stands below it, if there is room."""
    name: str
    """All that there is to say of where it is."""
    values: Sequence[Value]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened meanwhile."""

    place: float
    """In columns, from the left."""
    name: str


@dataclass(frozen=True, slots=True)
class Chart:
    name: str
    """One of its own in the page, for what changes there."""
    title: str
    series: Sequence[Series]
    columns: Sequence[Column]
    said: Callable[[float], str] = "{:,.0f}".format
    """An amount in words."""
    marks: Sequence[Mark] = ()
    note: str = ""
    width: int = WIDTH
    """Words in it are of one size on a page where it takes as many pixels, or nearly."""


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    tone: str
    href: str
    title: str


@dataclass(frozen=True, slots=True)
class Line:
    points: Sequence[tuple[float, float]]
    tone: str

    @property
    def as_text(self) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


@dataclass(frozen=True, slots=True)
class Label:
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Drawing:
    chart: Chart
    heights: Sequence[Label]
    """Of the vertical axis, the lowest first."""
    places: Sequence[Label]
    marks: Sequence[Label]
    bars: Sequence[Bar] = field(default=())
    lines: Sequence[Line] = field(default=())


def bars(chart: Chart) -> Drawing:
    """One stack for each column, the first series lowest."""
    scale = _Scale(chart, max((sum(_amounts(column)) for column in chart.columns), default=0.0))
    return scale.drawing(bars=list(_bars(chart, scale)))


def lines(chart: Chart) -> Drawing:
    """A line for each series, broken where a value is not known; each column leads somewhere."""
    highest = max((max(_amounts(column), default=0.0) for column in chart.columns), default=0.0)
    scale = _Scale(chart, highest)
    drawn = [
        Line(points, series.tone)
        for number, series in enumerate(chart.series)
        for points in _unbroken(chart, scale, number)
    ]
    return scale.drawing(bars=list(_strips(chart, scale)), lines=drawn)


def ticks(top: float, about: int = TICKS) -> list[float]:
    """Round numbers from 0 to no less than `top`, some `about` steps of 1 or more."""
    top = max(top, 1.0)
    rough = max(top / about, 1.0)
    power: float = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [step * number for number in range(math.ceil(top / step - 1e-9) + 1)]


class _Scale:
    def __init__(self, chart: Chart, highest: float) -> None:
        self.chart = chart
        self.ticks = ticks(highest)
        self.step = (chart.width - LEFT - RIGHT) / max(len(chart.columns), 1)

    def x(self, column: int, share: float = 0.0) -> float:
        return round(LEFT + (column + share) * self.step, 1)

    def y(self, amount: float) -> float:
        return round(HEIGHT - BOTTOM - self.height(amount), 1)

    def height(self, amount: float) -> float:
        return (HEIGHT - TOP - BOTTOM) * amount / self.ticks[-1]

    def drawing(self, bars: Sequence[Bar], lines: Sequence[Line] = ()) -> Drawing:
        every = max(1, math.ceil(len(self.chart.columns) / LABELS))
        places = [
            Label(self.x(number, 0.5), column.label)
            for number, column in enumerate(self.chart.columns)
            if number % every == 0
        ]
        heights = [Label(self.y(amount), self.chart.said(amount)) for amount in self.ticks]
        marks = [Label(self.x(0, mark.place), mark.name) for mark in self.chart.marks]
        return Drawing(self.chart, heights, places, marks, bars, lines)


def _bars(chart: Chart, scale: _Scale) -> Iterator[Bar]:
    width = min(round(scale.step * (1 - GAP), 1), WIDEST)
    for number, column in enumerate(chart.columns):
        top = float(HEIGHT - BOTTOM)
        for series, value in zip(chart.series, column.values, strict=True):
            if not value.amount:
                continue
            height = max(scale.height(value.amount), THINNEST)
            top -= height
            yield Bar(
                scale.x(number, (1 - width / scale.step) / 2),
                round(top, 1),
                width,
                round(height, 1),
                series.tone,
                value.href,
                f"{column.name}: {chart.said(value.amount)} {series.name}",
            )


def _strips(chart: Chart, scale: _Scale) -> Iterator[Bar]:
    """What can be pointed at: all of a column."""
    for number, column in enumerate(chart.columns):
        told = [
            f"{series.name} {chart.said(value.amount)}"
            for series, value in zip(chart.series, column.values, strict=True)
            if value.amount is not None
        ]
        if told:
            yield Bar(
                scale.x(number),
                TOP,
                round(scale.step, 1),
                HEIGHT - TOP - BOTTOM,
                "strip",
                column.values[0].href,
                f"{column.name}: {', '.join(told)}",
            )


def _unbroken(chart: Chart, scale: _Scale, number: int) -> Iterator[list[tuple[float, float]]]:
    known = [
        (place, column.values[number].amount)
        for place, column in enumerate(chart.columns)
        if column.values[number].amount is not None
    ]
    points = [(place, scale.x(place, 0.5), scale.y(amount or 0)) for place, amount in known]
    run: list[tuple[float, float]] = [(x, y) for _, x, y in points[:1]]
    for (before, _, _), (place, x, y) in pairwise(points):
        if place > before + 1:
            yield run
            run = []
        run.append((x, y))
    if run:
        yield run


def _amounts(column: Column) -> list[float]:
    return [value.amount for value in column.values if value.amount is not None]
