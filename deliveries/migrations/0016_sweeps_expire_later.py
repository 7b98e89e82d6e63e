"""Sweeps are dropped only when they are older than any two clocks that are of use may differ.

A message expires at a time of beat's clock, which the worker compares with its own. Within ten
minutes, while no worker runs, some hundreds of sweeps gather, each of which takes milliseconds.
"""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

EXPIRE_SECONDS = 600


def install(apps: Apps, schema_editor: BaseDatabaseSchemaEditor | None) -> None:
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(
        name__startswith="deliveries.sweep_", expire_seconds__lt=EXPIRE_SECONDS
    ).update(expire_seconds=EXPIRE_SECONDS)


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0015_lists")]
    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
