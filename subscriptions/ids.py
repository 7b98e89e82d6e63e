"""Ids that sort by time and say what they name: `evt_` and the 32 hex digits of a UUIDv7.

PostgreSQL stores the bare UUID, and takes the hex digits of an id as one: what a person copies
from a log or the admin, less its prefix, goes into psql as it is.
"""

import re
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from uuid_utils.compat import uuid7


def new_id(prefix: str) -> str:
    """A fresh id, later in order than every one this process made before."""
    return f"{prefix}_{uuid7().hex}"


def to_uuid(value: str) -> uuid.UUID:
    """What PostgreSQL stores for an id of any prefix. Raises ValueError where `value` is none."""
    if not re.fullmatch("[a-z]+_[0-9a-f]{32}", value):
        raise ValueError(f"{value[:64]!r} is not an id: it needs a prefix, '_' and 32 hex digits.")
    return uuid.UUID(value[-32:])


def from_uuid(prefix: str, value: uuid.UUID) -> str:
    """The id that a person sees for a stored UUID."""
    return f"{prefix}_{value.hex}"


def lowest_uuid_at(moment: datetime) -> uuid.UUID:
    """A bound for ids: those made before `moment` are less, those made after are not."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80)


def moment_of(value: uuid.UUID) -> datetime:
    """When an id was made, to the millisecond."""
    return datetime.fromtimestamp((value.int >> 80) / 1000, UTC)


if TYPE_CHECKING:
    UUIDField = models.UUIDField[str, str]
else:
    UUIDField = models.UUIDField


class IdField(UUIDField):
    """A primary key that is a UUID in the database and `<prefix>_<hex>` everywhere else."""

    description = "Time-ordered id with a prefix"

    def __init__(self, *, prefix: str, **options: Any) -> None:
        self.prefix = prefix
        options.update(primary_key=True, editable=False, default=self.make)
        super().__init__(**options)

    def make(self) -> str:
        return new_id(self.prefix)

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        for derived in ("primary_key", "editable", "default"):
            options.pop(derived, None)
        return name, path, args, {**options, "prefix": self.prefix}

    def from_db_value(self, value: uuid.UUID | None, *_: object) -> str | None:
        return None if value is None else from_uuid(self.prefix, value)

    def to_python(self, value: Any) -> str | None:
        if value is None:
            return None
        if isinstance(value, uuid.UUID):
            return from_uuid(self.prefix, value)
        try:
            if value.startswith(f"{self.prefix}_"):
                return from_uuid(self.prefix, to_uuid(value))
        except (AttributeError, ValueError):
            pass  # refused below, like an id of another kind
        raise ValidationError(
            f"“%(value)s” is not an id of this kind: expected “{self.prefix}_” and 32 hex digits.",
            code="invalid",
            params={"value": value},
        )

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> uuid.UUID | None:
        text = self.to_python(value)
        return None if text is None else to_uuid(text)

    def formfield(self, **options: Any) -> Any:
        return models.CharField.formfield(self, **options)
