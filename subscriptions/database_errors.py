"""What may be said of an error of the database: none of the values that it quotes.

PostgreSQL's DETAIL has the whole row that it refused, its CONTEXT and its LINE parts of the
statement, and all of them may be a payload, or a secret's ciphertext.
"""

import re
from collections.abc import Iterator

import psycopg
from django.db import DataError, Error

DATA_EXCEPTION = "22"
"""The class of the errors whose primary message quotes the value too (PostgreSQL, appendix A)."""


def without_values(error: BaseException) -> str:
    """SQLSTATE, constraint and primary message, of Django's or psycopg's error."""
    cause = error.__cause__ if isinstance(error, Error) else error
    if not isinstance(cause, psycopg.Error) or cause.sqlstate is None:
        # It comes from no server, or went through a pickle.
        if isinstance(error, DataError):
            return type(error).__name__
        return str(error).partition("\n")[0]
    told = [cause.sqlstate, cause.diag.constraint_name]
    if not cause.sqlstate.startswith(DATA_EXCEPTION):
        told.append(cause.diag.message_primary)
    return " ".join(filter(None, told))


def discreet(text: str, error: BaseException | None) -> str:
    """The text, in which the error or its traceback is quoted, without what is not to be said."""
    for one in _chain(error):
        if isinstance(one, Error | psycopg.Error) and (said := str(one)):
            told = without_values(one)
            text = text.replace(repr(said)[1:-1], told)
            # In the traceback of a group each line is set in.
            lines = r"\n[ |]*".join(map(re.escape, said.split("\n")))
            text = re.sub(lines, told.replace("\\", r"\\"), text)
    return text


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """All that a traceback shows."""
    seen: set[int] = set()
    left = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        left += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            left += one.exceptions
