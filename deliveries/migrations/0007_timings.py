"""How long the steps of an attempt took."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0006_retention_schedules")]
    operations = [
        migrations.AddField(
            model_name="attempt",
            name="connect_ms",
            field=models.PositiveIntegerField(help_text="What the connection took.", null=True),
        ),
        migrations.AddField(
            model_name="attempt",
            name="dns_ms",
            field=models.PositiveIntegerField(help_text="What the name's look-up took.", null=True),
        ),
        migrations.AddField(
            model_name="attempt",
            name="first_byte_ms",
            field=models.PositiveIntegerField(
                help_text="From the connection being ready until the response began.", null=True
            ),
        ),
        migrations.AddField(
            model_name="attempt",
            name="tls_ms",
            field=models.PositiveIntegerField(help_text="What the TLS handshake took.", null=True),
        ),
    ]
