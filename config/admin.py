"""What Django and django-celery-beat leave open in the admin.

Of users, groups and schedules the history is Django's own, which has no entry for beat's actions,
and loses those of a user who is deleted.
"""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django_celery_beat.admin import PeriodicTaskAdmin

if TYPE_CHECKING:
    OfUsers = UserAdmin[User]
else:
    OfUsers = UserAdmin

Action = Callable[[Any, HttpRequest, QuerySet[Any]], Any]


def noted(action: Action) -> Action:
    """The same action, for those who may change tasks, and with an entry for each task."""

    @wraps(action)
    def note(model_admin: Any, request: HttpRequest, tasks: QuerySet[Any]) -> Any:
        chosen = list(tasks)
        answer = action(model_admin, request, tasks)
        for task in chosen:
            model_admin.log_change(request, task, f"{note.short_description}.")  # type: ignore[attr-defined]
        return answer

    note.allowed_permissions = ["change"]  # type: ignore[attr-defined]
    return note


for name in PeriodicTaskAdmin.actions:
    setattr(PeriodicTaskAdmin, name, noted(getattr(PeriodicTaskAdmin, name)))

admin.site.unregister(User)


@admin.register(User)
class KeptUserAdmin(OfUsers):
    """Whoever has done something is not deleted but made inactive: it stays on record."""

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        may = super().has_delete_permission(request, obj)
        return may and obj is not None and not obj.logentry_set.exists()
