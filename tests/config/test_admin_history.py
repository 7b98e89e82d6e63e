"""Of users and schedules too the admin's history has every change, and keeps it."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask

pytestmark = pytest.mark.django_db

TASKS = reverse("admin:django_celery_beat_periodictask_changelist")
USERS = reverse("admin:auth_user_changelist")


@pytest.fixture
def task() -> PeriodicTask:
    every = IntervalSchedule.objects.create(every=1, period="days")
    return PeriodicTask.objects.create(name="a sweep", task="deliveries.sweep_due", interval=every)


@pytest.mark.parametrize("action", ["enable_tasks", "disable_tasks", "toggle_tasks"])
def test_whoever_switches_a_sweep_is_in_its_history(
    admin_client: Client, admin_user: User, task: PeriodicTask, action: str
) -> None:
    admin_client.post(TASKS, {"action": action, "_selected_action": task.pk, "confirmed": "yes"})
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (admin_user, str(task.pk))
    page = admin_client.get(
        reverse("admin:django_celery_beat_periodictask_history", args=[task.pk])
    )
    assert entry.change_message in page.content.decode()


def test_whoever_is_made_a_superuser_has_it_in_their_history(
    admin_client: Client, admin_user: User
) -> None:
    somebody = User.objects.create_user("somebody")
    form = {
        "username": "somebody",
        "is_active": "on",
        "is_staff": "on",
        "is_superuser": "on",
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
    }
    page = reverse("admin:auth_user_change", args=[somebody.pk])
    assert admin_client.post(page, form).status_code == 302
    entry = LogEntry.objects.get(object_id=str(somebody.pk))
    assert entry.user == admin_user
    assert "uperuser status" in entry.get_change_message()


def test_a_user_who_has_done_something_stays(admin_client: Client) -> None:
    idle, busy = (User.objects.create_user(name) for name in ("idle", "busy"))
    LogEntry.objects.create(user=busy, action_flag=2, change_message="[]")
    for user, status in ((idle, 302), (busy, 403)):
        page = reverse("admin:auth_user_delete", args=[user.pk])
        assert admin_client.post(page, {"post": "yes"}).status_code == status
    chosen = [busy.pk, User.objects.get(username="admin").pk]
    forged = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    admin_client.post(USERS, forged)
    assert set(User.objects.values_list("username", flat=True)) == {"admin", "busy"}
    assert LogEntry.objects.filter(user=busy).exists()
