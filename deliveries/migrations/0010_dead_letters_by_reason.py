"""Open dead letters by their reason: how many there are, and how old the first is."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0009_replays")]
    operations = [
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(
                name="dead_letter_open_by_reason",
                fields=["reason", "died_at"],
                condition=models.Q(resolution=""),
            ),
        )
    ]
