"""The schedules of two sweeps more; what is old goes often and in small shares."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

SWEEPS = [
    ("sweep_old", 10, "Drops events and attempts that are past their retention."),
    ("sweep_jobs", 10, "Carries on with redrives and discards of many, and with erasures."),
]


def install(apps: Apps, schema_editor: BaseDatabaseSchemaEditor | None) -> None:
    interval = apps.get_model("django_celery_beat", "IntervalSchedule")
    periodic_task = apps.get_model("django_celery_beat", "PeriodicTask")
    for name, seconds, purpose in SWEEPS:
        every, _ = interval.objects.get_or_create(every=seconds, period="seconds")
        periodic_task.objects.get_or_create(
            name=f"deliveries.{name}",
            defaults={
                "task": f"deliveries.{name}",
                "interval": every,
                "expire_seconds": max(2 * seconds, 30),
                "description": purpose,
            },
        )


def remove(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    periodic_task = apps.get_model("django_celery_beat", "PeriodicTask")
    periodic_task.objects.filter(name__in=[f"deliveries.{name}" for name, *_ in SWEEPS]).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("deliveries", "0005_dead_letters_and_erasures"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]
    operations = [migrations.RunPython(install, remove)]
