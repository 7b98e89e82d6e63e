"""The trace in which an event was emitted."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0010_dead_letters_by_reason")]
    operations = [
        migrations.AddField(
            model_name="event",
            name="traceparent",
            field=models.CharField(
                editable=False,
                help_text="The trace in which it was emitted.",
                max_length=55,
                null=True,
            ),
        )
    ]
