"""What Django and django-celery-beat leave open in the admin.

Of users, groups and schedules the history is Django's own, which has no entry for beat's actions,
and loses those of a user who is deleted. Whoever may change users or groups could make themselves a
superuser.
"""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
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

admin.site.unregister([User, Group])


def _is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser


@admin.register(User)
class CarefulUserAdmin(OfUsers):
    """Users, by whoever may change them; who may do what, and superusers, by superusers alone.

    Whoever has done something is not deleted but made inactive: it stays on record.
    """

    rights = ("is_superuser", "groups", "user_permissions")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        own = super().get_readonly_fields(request, obj)
        return own if _is_superuser(request) else (*own, *self.rights)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        may = super().has_change_permission(request, obj)
        return may and (obj is None or not obj.is_superuser or _is_superuser(request))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        may = super().has_delete_permission(request, obj)
        if obj is None or not self.has_change_permission(request, obj):
            return False
        return may and not obj.logentry_set.exists()


@admin.register(Group)
class CarefulGroupAdmin(GroupAdmin):
    """Groups, by whoever may change them; what their members may do by superusers alone."""

    def get_readonly_fields(self, request: HttpRequest, obj: Group | None = None) -> Any:
        own = super().get_readonly_fields(request, obj)
        return own if _is_superuser(request) else (*own, "permissions")
