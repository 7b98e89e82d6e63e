"""Where events with an ordering key get their place from."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0002_sweep_schedules")]
    operations = [
        migrations.RunSQL("CREATE SEQUENCE deliveries_ordinal", "DROP SEQUENCE deliveries_ordinal")
    ]
