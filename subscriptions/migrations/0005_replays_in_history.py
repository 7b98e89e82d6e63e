"""Replays have a history."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("subscriptions", "0004_erasing"),
    ]

    operations = [
        migrations.AlterField(
            model_name="historyentry",
            name="action",
            field=models.CharField(
                choices=[
                    ("created", "Created"),
                    ("changed", "Changed"),
                    ("deleted", "Deleted"),
                    ("revealed", "Revealed"),
                    ("reencrypted", "Reencrypted"),
                    ("redriven", "Redriven"),
                    ("recovered", "Recovered"),
                    ("replayed", "Replayed"),
                    ("discarded", "Discarded"),
                    ("dropped", "Dropped"),
                    ("erased", "Erased"),
                ],
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="historyentry",
            name="kind",
            field=models.CharField(
                choices=[
                    ("subscriber", "Subscriber"),
                    ("endpoint", "Endpoint"),
                    ("subscription", "Subscription"),
                    ("signing_secret", "Signing secret"),
                    ("event_type", "Event type"),
                    ("api_key", "API key"),
                    ("delivery", "Delivery"),
                    ("replay", "Replay"),
                ],
                max_length=16,
                verbose_name="what",
            ),
        ),
    ]
