"""Actions on rows of a list: asked first, on a page that says how many; then it is said again."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

Change = Callable[[Any, HttpRequest, Any], int | HttpResponse | None]
Action = Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponse | None]

ROWS_NAMED = 20


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
            chosen, touched = rows.count(), touches(rows)
            if only_one and touched.count() != 1:
                model_admin.message_user(request, only_one, messages.ERROR)
                return None
            if "confirmed" not in request.POST:
                return ask(model_admin, request, chosen, touched)
            answer = change(model_admin, request, touched)
            if not isinstance(answer, int):
                return answer
            said = f"{answer:,} of {_counted(model_admin, chosen)} {done}."
            level = messages.SUCCESS if answer == chosen else messages.WARNING
            model_admin.message_user(request, said, level)
            return None

        def ask(
            model_admin: Any, request: HttpRequest, chosen: int, touched: QuerySet[Any]
        ) -> HttpResponse:
            count, title = touched.count(), description.partition(":")[0]
            chosen_keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
            context = {
                **model_admin.admin_site.each_context(request),
                "title": title,
                "opts": model_admin.opts,
                "media": model_admin.media,
                "sentence": _sentence(model_admin, count, chosen, done),
                "button": count and f"{title}: {_counted(model_admin, count)}",
                "warning": warning,
                "about": about(touched) if count else (),
                "more": f"{count - ROWS_NAMED:,}" if count > ROWS_NAMED else "",
                "again": [
                    ("action", change.__name__),
                    ("select_across", request.POST.get("select_across", "0")),
                    *((ACTION_CHECKBOX_NAME, key) for key in chosen_keys),
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
