"""Charts in a page, as SVG: {% bar_chart chart %} and {% line_chart chart %}.

Whoever does not see them, or has no mouse, has the table below with the same links. A page that has
one asks for deliveries/charts.css.
"""

from typing import Any

from django import template

from deliveries import charts

register = template.Library()


@register.inclusion_tag("deliveries/chart.html")
def bar_chart(chart: charts.Chart) -> dict[str, Any]:
    """Stacked bars."""
    return _context(charts.bars(chart))


@register.inclusion_tag("deliveries/chart.html")
def line_chart(chart: charts.Chart) -> dict[str, Any]:
    """A line for each series."""
    return _context(charts.lines(chart))


def _context(drawing: charts.Drawing) -> dict[str, Any]:
    chart = drawing.chart
    return {
        "drawing": drawing,
        "chart": chart,
        "rows": [
            (
                column.name,
                [
                    ("" if value.amount is None else chart.said(value.amount), value.href)
                    for value in column.values
                ],
            )
            for column in chart.columns
        ],
        "height": charts.HEIGHT,
        "left": charts.LEFT,
        "right": chart.width - charts.RIGHT,
        "gutter": charts.LEFT - 8,
        "top": charts.TOP,
        "bottom": charts.HEIGHT - charts.BOTTOM,
        "foot": charts.HEIGHT - 6,
    }
