"""How log lines look: as JSON for machines, or as lines for people. One a record, whoever logs."""

import json
import logging
from typing import Any

import structlog
from structlog.typing import EventDict

from subscriptions.database_errors import discreet

FORMATS = ("json", "line")

LINE = "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"

# Nothing else that a library hangs on a record is let through: it might be a payload, or a secret.
FIELDS = ("delivery_id", "event_id", "endpoint_id", "request_id", "status_code")

# Statements have the values in them, and with DEBUG they are written.
STATEMENTS = "django.db.backends"

# Celery's lines about each task; the deliveries have their own.
TASK_LOGGERS = ("celery.worker.strategy", "celery.app.trace")


def logging_settings(form: str, level: str) -> dict[str, Any]:
    """Django's LOGGING. `form` is one of FORMATS."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": "subscriptions.request_ids.RequestIdFilter"}},
        "formatters": {
            "line": {"()": LineFormatter, "fmt": LINE},
            "json": {"()": json_formatter},
        },
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": form,
                "filters": ["request_id"],
            }
        },
        "loggers": {
            **{name: {"level": level if level == "DEBUG" else "WARNING"} for name in TASK_LOGGERS},
            STATEMENTS: {"level": "INFO" if level == "DEBUG" else level},
        },
        "root": {"handlers": ["console"], "level": level},
    }


class LineFormatter(logging.Formatter):
    """A line, and the traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        return discreet(super().format(record), record.exc_info and record.exc_info[1])


def json_formatter() -> structlog.stdlib.ProcessorFormatter:
    """One JSON object a record: timestamp, level, logger, message, FIELDS, and the traceback."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(allow=FIELDS),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            with_traceback,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            without_what_is_missing,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(serializer=json.dumps),
        ],
    )


def with_traceback(logger: Any, method: str, fields: EventDict) -> EventDict:
    """As plain text: structlog's own form of tracebacks shows the variables."""
    _, error, _ = fields.get("exc_info") or (None, None, None)
    shown = structlog.processors.format_exc_info(logger, method, fields)
    # Celery's message quotes the error as well.
    said = {name: discreet(shown[name], error) for name in ("event", "exception") if name in shown}
    return {**shown, **said}


def without_what_is_missing(_: Any, __: str, fields: EventDict) -> EventDict:
    """A line outside of any request has no id of one."""
    return {name: value for name, value in fields.items() if value != "-"}
