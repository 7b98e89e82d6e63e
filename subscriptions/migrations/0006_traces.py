"""Endpoints that want to know which trace a request belongs to."""

from dataclasses import replace
from importlib import import_module

from django.db import migrations, models

history = import_module("subscriptions.migrations.0002_history_triggers")

TABLE = "subscriptions_endpoint"
BEFORE = history.WATCHED[TABLE]
NOW = replace(BEFORE, told=f"{BEFORE.told} send_traceparent")
DROP = f"DROP TRIGGER history ON {TABLE};"


class Migration(migrations.Migration):
    dependencies = [("subscriptions", "0005_replays_in_history")]
    operations = [
        migrations.AddField(
            model_name="endpoint",
            name="send_traceparent",
            field=models.BooleanField(
                default=False,
                help_text="Whether requests say by a traceparent header which trace they belong to.",
            ),
        ),
        migrations.RunSQL(
            DROP + history.trigger(TABLE, NOW), DROP + history.trigger(TABLE, BEFORE)
        ),
    ]
