"""Subscribers that are whoever runs Angarium."""

from dataclasses import replace
from importlib import import_module

from django.db import migrations, models

history = import_module("subscriptions.migrations.0002_history_triggers")

TABLE = "subscriptions_subscriber"
BEFORE = history.WATCHED[TABLE]
NOW = replace(BEFORE, told=f"{BEFORE.told} operator")
DROP = f"DROP TRIGGER history ON {TABLE};"


class Migration(migrations.Migration):
    dependencies = [("subscriptions", "0002_history_triggers")]
    operations = [
        migrations.AddField(
            model_name="subscriber",
            name="operator",
            field=models.BooleanField(
                default=False,
                help_text="Whether it is you who run Angarium: its endpoints may ask for Angarium's own events (endpoint.disabled, delivery.dead, ...), and cause none.",
            ),
        ),
        migrations.AddIndex(
            model_name="subscriber",
            index=models.Index(
                name="subscriber_operator", fields=["id"], condition=models.Q(operator=True)
            ),
        ),
        migrations.RunSQL(
            DROP + history.trigger(TABLE, NOW), DROP + history.trigger(TABLE, BEFORE)
        ),
    ]
