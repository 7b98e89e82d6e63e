"""What Django and django-celery-beat leave open in the admin.

Of users, groups and schedules the history is Django's own, which has no entry for beat's actions,
and loses those of a user who is deleted. Whoever may change users or groups could make themselves a
superuser.
"""

from functools import wraps
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django_celery_beat import admin as beat
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget

from subscriptions.admin.bulk import Action, bulk_action

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
    OfUsers = UserAdmin[User]
else:
    from unfold.admin import ModelAdmin, TabularInline

    OfUsers = UserAdmin

SCHEDULES = (ClockedSchedule, CrontabSchedule, IntervalSchedule, SolarSchedule)

admin.site.unregister([User, Group, PeriodicTask, *SCHEDULES])


def noted(action: Action, done: str) -> Action:
    """The same action, asked first, for those who may change tasks, with an entry for each task."""
    said = str(action.short_description)  # type: ignore[attr-defined]

    @bulk_action(said, done=done, permissions=["change"])
    @wraps(action)
    def act(model_admin: Any, request: HttpRequest, tasks: QuerySet[Any]) -> None:
        chosen = list(tasks)
        action(model_admin, request, tasks)
        for task in chosen:
            model_admin.log_change(request, task, f"{said}.")

    return act


class TaskSelect(beat.TaskSelectWidget, UnfoldAdminSelectWidget):  # type: ignore[misc]
    """The choice of a task that there is."""


class TaskForm(beat.PeriodicTaskForm):  # type: ignore[misc]
    regtask = beat.TaskChoiceField(label="Task (registered)", required=False, widget=TaskSelect)


@admin.register(PeriodicTask)
class TaskAdmin(beat.PeriodicTaskAdmin, ModelAdmin):  # type: ignore[misc]
    form = TaskForm
    # Beat's own has a script in the page, which the Content-Security-Policy does not let run.
    change_form_template = None

    enable_tasks = noted(beat.PeriodicTaskAdmin.enable_tasks, "enabled")
    disable_tasks = noted(beat.PeriodicTaskAdmin.disable_tasks, "disabled")
    toggle_tasks = noted(beat.PeriodicTaskAdmin.toggle_tasks, "switched on or off")
    run_tasks = noted(beat.PeriodicTaskAdmin.run_tasks, "run")


class TasksOfSchedule(beat.PeriodicTaskInline, TabularInline):  # type: ignore[misc]
    """The tasks that run by a schedule."""


@admin.register(ClockedSchedule, IntervalSchedule, SolarSchedule)
class ScheduleAdmin(ModelAdmin):
    inlines = [TasksOfSchedule]


@admin.register(CrontabSchedule)
class CrontabAdmin(beat.CrontabScheduleAdmin, ModelAdmin):  # type: ignore[misc]
    inlines = [TasksOfSchedule]


def _is_superuser(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser


@admin.register(User)
class CarefulUserAdmin(OfUsers, ModelAdmin):
    """Users, by whoever may change them; who may do what, and superusers, by superusers alone.

    Whoever has done something is not deleted but made inactive: it stays on record.
    """

    form, add_form = UserChangeForm, UserCreationForm
    change_password_form = AdminPasswordChangeForm
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
class CarefulGroupAdmin(GroupAdmin, ModelAdmin):
    """Groups, by whoever may change them; what their members may do by superusers alone."""

    def get_readonly_fields(self, request: HttpRequest, obj: Group | None = None) -> Any:
        own = super().get_readonly_fields(request, obj)
        return own if _is_superuser(request) else (*own, "permissions")
