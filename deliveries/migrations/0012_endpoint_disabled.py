"""What becomes of endpoints that fail for too long, and of what is held for them."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

SWEEP = "deliveries.sweep_health"


def install(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    interval = apps.get_model("django_celery_beat", "IntervalSchedule")
    every, _ = interval.objects.get_or_create(every=60, period="seconds")
    apps.get_model("django_celery_beat", "PeriodicTask").objects.get_or_create(
        name=SWEEP,
        defaults={
            "task": SWEEP,
            "interval": every,
            "expire_seconds": 120,
            "description": "Warns of endpoints that have failed for long, and disables them.",
        },
    )


def remove(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name=SWEEP).delete()


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0011_traces"), ("subscriptions", "0007_health")]
    operations = [
        migrations.AlterField(
            model_name="deadletter",
            name="reason",
            field=models.CharField(
                choices=[
                    ("exhausted", "Exhausted"),
                    ("gone", "Gone"),
                    ("address_refused", "Address Refused"),
                    ("unrenderable", "Unrenderable"),
                    ("expired", "Expired"),
                    ("endpoint_disabled", "Endpoint Disabled"),
                ],
                max_length=20,
            ),
        ),
        migrations.RunPython(install, remove),
    ]
