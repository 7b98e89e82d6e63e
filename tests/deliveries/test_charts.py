"""Charts of plain data, and how they stand in a page."""

from typing import Any
from xml.etree import ElementTree

import pytest
from django.template import Context, Template

from deliveries import charts
from deliveries.charts import Chart, Column, Mark, Series, Value

GOOD, BAD = Series("delivered", "good"), Series("dead", "bad")
FLOOR = charts.HEIGHT - charts.BOTTOM


def chart(*amounts: tuple[float | None, ...], **fields: Any) -> Chart:
    columns = [
        Column(f"{n}:00", f"{n}:00 to {n + 1}:00", [Value(one, f"?hour={n}") for one in values])
        for n, values in enumerate(amounts)
    ]
    return Chart(
        "outcomes",
        "Deliveries",
        [GOOD, BAD][: len(amounts[0]) if amounts else 1],
        columns,
        **fields,
    )


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (4, [0, 1, 2, 3, 4]),
        (95, [0, 50, 100]),
        (100, [0, 50, 100]),
        (101, [0, 50, 100, 150]),
        (7_300, [0, 2_000, 4_000, 6_000, 8_000]),
    ],
)
def test_an_axis_has_round_numbers_up_to_the_highest_value(
    top: float, expected: list[float]
) -> None:
    assert charts.ticks(top) == pytest.approx(expected)


def test_bars_of_a_column_stand_upon_each_other_and_fill_the_axis_together() -> None:
    lower, upper = charts.bars(chart((60, 40))).bars
    assert lower.y + lower.height == pytest.approx(FLOOR, abs=0.2)
    assert upper.y + upper.height == pytest.approx(lower.y, abs=0.2)
    assert upper.y == pytest.approx(charts.TOP, abs=0.2)
    assert lower.height / upper.height == pytest.approx(1.5, abs=0.01)


def test_nothing_has_no_bar_and_next_to_nothing_has_one_that_can_be_seen() -> None:
    (bar, thin) = charts.bars(chart((100_000, 1), (0, None))).bars
    assert thin.height == charts.THINNEST
    assert (bar.tone, thin.tone) == ("good", "bad")


def test_each_bar_leads_to_its_list_and_says_what_it_stands_for() -> None:
    first, second = charts.bars(chart((1_200,), (3,))).bars
    assert (first.href, second.href) == ("?hour=0", "?hour=1")
    assert first.title == "0:00 to 1:00: 1,200 delivered"
    assert first.x + first.width < second.x


def test_a_bar_of_few_is_no_wider_than_it_need_be_and_stands_in_the_middle() -> None:
    (bar,) = charts.bars(chart((3,))).bars
    assert bar.width == charts.WIDEST
    assert bar.x + bar.width / 2 == pytest.approx((charts.LEFT + charts.WIDTH - charts.RIGHT) / 2)


def test_a_line_is_broken_where_nothing_is_known() -> None:
    drawing = charts.lines(chart((10,), (20,), (None,), (5,)))
    assert [len(line.points) for line in drawing.lines] == [2, 1]
    (_, low), (_, high) = drawing.lines[0].points
    assert low > high  # SVG counts from above
    assert [strip.href for strip in drawing.bars] == ["?hour=0", "?hour=1", "?hour=3"]


def test_a_mark_stands_at_its_place_among_the_columns() -> None:
    drawing = charts.lines(chart((1,), (2,), marks=[Mark(0, "first"), Mark(1.5, "late")]))
    step = (charts.WIDTH - charts.LEFT - charts.RIGHT) / 2
    assert [mark.at for mark in drawing.marks] == [charts.LEFT, charts.LEFT + 1.5 * step]
    assert [mark.text for mark in drawing.marks] == ["first", "late"]


def test_of_many_columns_some_are_labelled() -> None:
    places = charts.bars(chart(*[(1,)] * 60)).places
    assert 4 <= len(places) <= charts.LABELS
    assert places[0].text == "0:00"


@pytest.mark.parametrize("tag", ["bar_chart", "line_chart"])
@pytest.mark.parametrize("columns", [[], [(5.0, 1.0), (None, 2.0)]])
def test_a_chart_in_a_page_is_well_formed_and_has_a_table_with_the_same_links(
    tag: str, columns: list[tuple[float | None, ...]]
) -> None:
    written = Template(f"{{% load charts %}}{{% {tag} chart %}}").render(
        Context({"chart": chart(*columns, note="A <note>", marks=[Mark(0, "A <mark>")])})
    )
    figure = ElementTree.fromstring(written)
    drawn = {link.get("href") for link in figure.iterfind(".//svg//a")}
    tabled = {link.get("href") for link in figure.iterfind(".//table//a")}
    assert drawn == tabled == {f"?hour={n}" for n in range(len(columns))}
    assert figure.findtext("p") == "A <note>"
    assert figure.findtext(".//svg/g/title") == "A <mark>"


def test_nothing_in_a_chart_is_refused_by_the_content_security_policy() -> None:
    written = Template("{% load charts %}{% bar_chart chart %}").render(
        Context({"chart": chart((1,))})
    )
    assert "style" not in written
    assert "script" not in written
