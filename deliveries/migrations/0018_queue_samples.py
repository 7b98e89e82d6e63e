"""How the queue was, minute by minute."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("deliveries", "0017_response_headers"),
    ]

    operations = [
        migrations.CreateModel(
            name="QueueSample",
            fields=[
                (
                    "minute",
                    models.DateTimeField(help_text="Its begin.", primary_key=True, serialize=False),
                ),
                (
                    "messages",
                    models.PositiveBigIntegerField(
                        help_text="On the broker; empty if it did not answer.", null=True
                    ),
                ),
                ("pending", models.PositiveBigIntegerField()),
                (
                    "overdue",
                    models.FloatField(help_text="Seconds since the first delivery was to be sent."),
                ),
            ],
            options={
                "ordering": ["minute"],
                "default_permissions": (),
            },
        ),
    ]
