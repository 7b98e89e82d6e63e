from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0016_sweeps_expire_later")]
    operations = [
        migrations.AddField(
            model_name="attempt",
            name="response_headers",
            field=models.TextField(
                blank=True,
                db_default="",
                default="",
                help_text="A line for each, the first 2 KiB of them; none on success.",
            ),
        ),
    ]
