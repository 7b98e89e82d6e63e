"""Log lines as machines read them."""

import json
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from django.db import IntegrityError, connection, transaction

from config.logs import (
    FIELDS,
    LINE,
    STATEMENTS,
    LineFormatter,
    json_formatter,
    logging_settings,
)
from subscriptions import request_ids
from tests import processes
from tests.processes import ROOT


def line(
    message: str,
    *arguments: object,
    formatter: logging.Formatter | None = None,
    **record: Any,
) -> str:
    """What is written of a record."""
    made = logging.getLogger("deliveries").makeRecord(
        "deliveries",
        logging.INFO,
        "deliveries.py",
        1,
        message,
        arguments,
        record.pop("error", None),
    )
    made.__dict__.update(record)
    request_ids.RequestIdFilter().filter(made)
    return (formatter or json_formatter()).format(made)


def written(message: str, *arguments: object, **record: Any) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(line(message, *arguments, **record))
    return parsed


def test_a_record_is_one_json_object_with_its_ids() -> None:
    parsed = written("%s is dead", "dlv_1", delivery_id="dlv_1", endpoint_id="ep_1")
    assert parsed.pop("timestamp").endswith("Z")
    assert parsed == {
        "level": "info",
        "logger": "deliveries",
        "message": "dlv_1 is dead",
        "delivery_id": "dlv_1",
        "endpoint_id": "ep_1",
    }


def test_a_line_of_a_request_has_its_id() -> None:
    token = request_ids.current.set("req_1")
    try:
        assert written("hello")["request_id"] == "req_1"
    finally:
        request_ids.current.reset(token)


def test_whatever_else_hangs_on_a_record_is_not_written() -> None:
    parsed = written("hello", request="GET /?token=secret", data={"args": "secret"}, payload="{}")
    assert set(parsed) == {"timestamp", "level", "logger", "message"}


def test_no_text_can_make_a_second_line() -> None:
    text = 'first\n{"level": "critical"}\r\u2028\x00'
    assert len(line("%s", text).splitlines()) == 1
    assert written("%s", text)["message"] == text


def test_a_traceback_is_a_field_and_shows_no_variables() -> None:
    def fails() -> None:
        password = "hunter" + "2"
        raise ValueError(len(password))

    try:
        fails()
    except ValueError:
        parsed = written("it failed", error=sys.exc_info())
    assert "ValueError: 7" in parsed["exception"]
    assert "hunter2" not in json.dumps(parsed)


VALUE = "in front\n\n'open' sesame\n  behind"


def refused_by_the_database(value: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE kept (value text CHECK (value = '')) ON COMMIT DROP")
        cursor.execute("INSERT INTO kept VALUES (%s)", [value])


def says_it_in_its_own_words(value: str) -> None:
    try:
        refused_by_the_database(value)
    except IntegrityError as error:
        raise RuntimeError(f"it failed: {error}") from error


def fails_beside_others(value: str) -> None:
    try:
        refused_by_the_database(value)
    except IntegrityError as error:
        raise ExceptionGroup("several failed", [error, ValueError("another")]) from None


@pytest.mark.django_db
@pytest.mark.parametrize("formatter", [json_formatter(), LineFormatter(LINE)])
@pytest.mark.parametrize(
    "fails", [refused_by_the_database, says_it_in_its_own_words, fails_beside_others]
)
def test_of_an_error_of_the_database_no_row_is_written(
    fails: Callable[[str], None], formatter: logging.Formatter
) -> None:
    with pytest.raises((IntegrityError, RuntimeError, ExceptionGroup)) as caught:
        fails(VALUE)
    error = caught.value
    assert "sesame" in "".join(traceback.format_exception(error))
    exc_info = (type(error), error, error.__traceback__)
    # As Celery writes of a task that failed.
    text = line("a task: %s", repr(error), formatter=formatter, error=exc_info)
    assert "23514 kept_value_check" in text
    for part in ("in front", "sesame", "behind", "DETAIL"):
        assert part not in text


def test_it_is_json_in_production_and_a_line_for_people_with_debug() -> None:
    for debug, begins in (("0", "{"), ("1", "2")):
        told = subprocess.run(
            [
                sys.executable,
                "-c",
                "import django, logging; django.setup(); logging.warning('hello')",
            ],
            cwd=ROOT,
            env={**os.environ, "DEBUG": debug, "DJANGO_SETTINGS_MODULE": "config.settings"},
            capture_output=True,
            text=True,
        )
        [said] = told.stderr.splitlines()
        assert said.startswith(begins)
        assert "hello" in said


@pytest.mark.parametrize(("level", "expected"), [("INFO", "WARNING"), ("DEBUG", "DEBUG")])
def test_celery_s_line_for_each_task_is_for_debugging_alone(level: str, expected: str) -> None:
    settings = logging_settings("json", level)
    assert settings["loggers"]["celery.app.trace"] == {"level": expected}
    assert settings["root"]["level"] == level


def test_statements_which_have_values_in_them_are_never_written() -> None:
    levels = {level: logging_settings("line", level)["loggers"] for level in ("DEBUG", "ERROR")}
    assert levels["DEBUG"][STATEMENTS] == {"level": "INFO"}
    assert levels["ERROR"][STATEMENTS] == {"level": "ERROR"}


@pytest.mark.django_db(transaction=True)
def test_a_web_server_s_own_lines_are_json_too(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    with processes.web(log) as url:
        assert requests.get(f"{url}/nowhere", timeout=10).status_code == 404
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"gunicorn.error", "django.request"} <= {one["logger"] for one in lines}
    [refused] = [one for one in lines if one["logger"] == "django.request"]
    assert refused["request_id"].startswith("req_")
    assert set(refused) <= {"timestamp", "level", "logger", "message", *FIELDS}
