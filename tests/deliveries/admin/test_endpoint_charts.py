from datetime import UTC, datetime, timedelta

from deliveries.admin.endpoint_charts import (
    Change,
    Tally,
    Times,
    attempts_chart,
    durations_chart,
)
from deliveries.charts import Chart

HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOURS = Times("hour", NOON, HOUR, 3, "%H:%M")
TALLIES = {NOON: Tally(8, 6, 20, 80), NOON + 2 * HOUR: Tally(4, 4, 10, 40)}


def amounts(chart: Chart) -> list[list[float | None]]:
    return [[value.amount for value in column.values] for column in chart.columns]


def test_attempts_are_told_by_what_came_of_them() -> None:
    chart = attempts_chart(HOURS, TALLIES, [])
    assert [series.name for series in chart.series] == ["delivered", "failed"]
    assert amounts(chart) == [[6, 2], [0, 0], [4, 0]]
    assert [column.label for column in chart.columns] == ["12:00", "13:00", "14:00"]
    assert chart.note == "12 attempts, 83% of which delivered."


def test_an_hour_without_an_attempt_took_no_time_that_is_known() -> None:
    assert amounts(durations_chart(HOURS, TALLIES, [])) == [[20, 80], [None, None], [10, 40]]


def test_what_was_before_is_not_counted() -> None:
    assert attempts_chart(HOURS, {NOON - HOUR: Tally(5, 5)}, []).note == "0 attempts."


def test_a_change_is_marked_at_its_time_and_one_from_before_or_after_nowhere() -> None:
    changes = [
        Change(NOON + hours * HOUR, what, "Anahita")
        for hours, what in ((-1, "active"), (1.5, "paused"), (3, "active"))
    ]
    for chart in (attempts_chart(HOURS, {}, changes), durations_chart(HOURS, {}, changes)):
        [mark] = chart.marks
        assert (mark.place, mark.name) == (1.5, "2026-03-01 13:30: paused, by Anahita")
