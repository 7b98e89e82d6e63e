from datetime import UTC, datetime, timedelta

from deliveries.admin.charts import BARS, LINE, WIDTH, Bucket, Mark, draw

HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BUSY, QUIET = Bucket(8, 6, 20, 80), Bucket(4, 4, 10, 40)


def test_bars_stand_on_each_other_as_high_as_the_most_there_were() -> None:
    chart = draw("Attempts", NOON, HOUR, 3, {NOON: BUSY, NOON + 2 * HOUR: QUIET}, [])
    busy, none, quiet = chart.bars
    assert (busy.x, none.x, quiet.x) == (0, WIDTH / 3, 2 * WIDTH / 3)
    assert (busy.failed_y, busy.failed_height) == (0, BARS / 4)
    assert (busy.delivered_y, busy.delivered_height) == (BARS / 4, BARS * 3 / 4)
    assert (none.failed_height, none.delivered_height) == (0, 0)
    assert quiet.delivered_height == BARS / 2
    assert (chart.most, chart.total.attempts, chart.total.rate) == (8, 12, "83%")


def test_the_line_leaves_out_hours_without_an_attempt() -> None:
    chart = draw("Attempts", NOON, HOUR, 3, {NOON: BUSY, NOON + 2 * HOUR: QUIET}, [])
    assert chart.line == f"100.0,0.0 500.0,{LINE / 2:.1f}"
    assert chart.slowest_ms == 80


def test_a_mark_stands_at_its_time_and_one_from_before_nowhere() -> None:
    paused = Mark(NOON + HOUR, "paused", "Anahita")
    chart = draw("Attempts", NOON, HOUR, 2, {}, [Mark(NOON - HOUR, "active", "Angarium"), paused])
    assert chart.marks == ((WIDTH / 2, paused),)


def test_nothing_is_drawn_of_nothing() -> None:
    chart = draw("Attempts", NOON, HOUR, 24, {}, [])
    assert (chart.line, chart.marks, chart.total.rate) == ("", (), "-")
    assert {bar.failed_height + bar.delivered_height for bar in chart.bars} == {0}
    assert [bar.label for bar in chart.bars if bar.label] == ["12:00", "18:00", "00:00", "06:00"]
