"""The sweeps' schedules, as rows of django-celery-beat: to be seen and changed in the admin."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# Task, seconds between two runs, what it is for.
SWEEPS = [
    ("sweep_due", 5, "Enqueues the deliveries whose wait is over."),
    ("sweep_lost", 10, "Enqueues again what the broker has lost."),
    ("sweep_stuck", 10, "Takes deliveries back from workers that died."),
    ("sweep_held", 10, "Releases what is held for endpoints that are active again."),
    ("sweep_dead_letters", 60, "Redrives what can be delivered again; drops old dead letters."),
    ("sweep_expired", 3600, "Drops what is past its time: old events, expired signing secrets."),
]


def install(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    interval = apps.get_model("django_celery_beat", "IntervalSchedule")
    periodic_task = apps.get_model("django_celery_beat", "PeriodicTask")
    for name, seconds, purpose in SWEEPS:
        every, _ = interval.objects.get_or_create(every=seconds, period="seconds")
        periodic_task.objects.get_or_create(
            name=f"deliveries.{name}",
            defaults={
                "task": f"deliveries.{name}",
                "interval": every,
                # While no worker runs, sweeps must not pile up in the queue.
                "expire_seconds": max(2 * seconds, 30),
                "description": purpose,
            },
        )


def remove(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    periodic_task = apps.get_model("django_celery_beat", "PeriodicTask")
    periodic_task.objects.filter(name__in=[f"deliveries.{name}" for name, *_ in SWEEPS]).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("deliveries", "0001_initial"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]
    operations = [migrations.RunPython(install, remove)]
