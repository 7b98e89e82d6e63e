"""Actions on rows of a list: asked first, on a page that says how many; then it is said again.

Of "all" that a list finds no more are taken at a time than lists count. The page that asks has
their keys, and what is confirmed is done to those, whatever the list has come to find since.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from subscriptions.admin import pages

Change = Callable[[Any, HttpRequest, Any], int | HttpResponse | None]
Action = Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponse | None]

ROWS_NAMED = 20

KEYS = "keys"
"""The field that has the keys of "all", joined by commas: of fields there may be a thousand."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What an action is asked for."""

    rows: QuerySet[Any]
    count: int
    keys: str = ""
    """Of these rows, where they are all that the list found."""
    all_there_are: str = ""
    """How many the list finds, where that is more."""


def chosen(request: HttpRequest, rows: QuerySet[Any]) -> Chosen:
    """The rows that were ticked; or all, those that were shown to whoever confirms it."""
    if request.POST.get("select_across") != "1":
        return Chosen(rows, rows.count())
    if KEYS in request.POST:
        keys = [key for key in request.POST[KEYS].split(",") if key]
    else:
        keys = [str(key) for key in rows.values_list("pk", flat=True)[: pages.ROWS_COUNTED + 1]]
    taken = keys[: pages.ROWS_COUNTED]
    return Chosen(
        rows.filter(pk__in=taken),
        len(taken),
        keys=",".join(taken),
        all_there_are=pages.about(rows) if len(keys) > len(taken) else "",
    )


def is_confirmed(request: HttpRequest) -> bool:
    """Whether it has been asked for twice; "all" without keys is nothing that anybody was shown."""
    across = request.POST.get("select_across") == "1"
    return "confirmed" in request.POST and (KEYS in request.POST or not across)


def all_of(rows: QuerySet[Any]) -> QuerySet[Any]:
    return rows


def names_of(rows: QuerySet[Any]) -> list[str]:
    """What some of them are called."""
    return [str(row) for row in rows[:ROWS_NAMED]]


def bulk_action(
    description: str,
    *,
    done: str,
    permissions: list[str],
    touches: Callable[[Any], QuerySet[Any]] = all_of,
    only_one: str = "",
    warning: str = "",
    about: Callable[[Any], Iterable[str]] = names_of,
) -> Callable[[Change], Action]:
    """An action that is asked for twice, and then told of.

    It `touches` those of the chosen rows, which it is given, and returns how many it has changed,
    or a page of its own, or nothing where it tells by itself. `done` is the participle of it
    ("redriven"). `only_one` is what is said to whoever chooses more than one row, where that is no
    use; `about` are lines for the page that asks.
    """

    def decorate(change: Change) -> Action:
        @wraps(change)
        def act(model_admin: Any, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
            asked = chosen(request, rows)
            touched = touches(asked.rows)
            if only_one and touched.count() != 1:
                model_admin.message_user(request, only_one, messages.ERROR)
                return None
            if not is_confirmed(request):
                return ask(model_admin, request, asked, touched)
            answer = change(model_admin, request, touched)
            if not isinstance(answer, int):
                return answer
            said = f"{answer:,} of {_counted(model_admin, asked.count)} {done}."
            level = messages.SUCCESS if answer == asked.count else messages.WARNING
            model_admin.message_user(request, said, level)
            return None

        def ask(
            model_admin: Any, request: HttpRequest, asked: Chosen, touched: QuerySet[Any]
        ) -> HttpResponse:
            count, title = touched.count(), description.partition(":")[0]
            ticked = request.POST.getlist(ACTION_CHECKBOX_NAME)
            context = {
                **model_admin.admin_site.each_context(request),
                "title": title,
                "opts": model_admin.opts,
                "media": model_admin.media,
                "sentence": _sentence(model_admin, count, asked.count, done),
                "cut": _cut(asked),
                "button": count and f"{title}: {_counted(model_admin, count)}",
                "warning": warning,
                "about": about(touched) if count else (),
                "more": f"{count - ROWS_NAMED:,}" if count > ROWS_NAMED else "",
                "again": [
                    ("action", change.__name__),
                    ("select_across", request.POST.get("select_across", "0")),
                    *((ACTION_CHECKBOX_NAME, key) for key in ticked),
                    *([(KEYS, asked.keys)] if asked.keys else []),
                ],
            }
            return TemplateResponse(request, "admin/subscriptions/confirmation.html", context)

        act.touches = touches  # type: ignore[attr-defined]
        act.short_description = description  # type: ignore[attr-defined]
        act.allowed_permissions = permissions  # type: ignore[attr-defined]
        return act

    return decorate


def _counted(model_admin: Any, count: int) -> str:
    opts = model_admin.opts
    return f"{count:,} {opts.verbose_name if count == 1 else opts.verbose_name_plural}"


def _sentence(model_admin: Any, count: int, chosen: int, done: str) -> str:
    if count == chosen:
        return f"{_counted(model_admin, count)} will be {done}."
    of_chosen = f"of {_counted(model_admin, chosen)} chosen"
    if not count:
        return f"None {of_chosen} can be {done}."
    rest = "The other stays as it is." if chosen - count == 1 else "The others stay as they are."
    return f"{count:,} {of_chosen} will be {done}. {rest}"


def _cut(asked: Chosen) -> str:
    if not asked.all_there_are:
        return ""
    return (
        f"These are the first {asked.count:,} of {asked.all_there_are} that the list finds."
        " Once they are done, choose again."
    )
