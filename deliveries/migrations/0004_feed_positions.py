from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("deliveries", "0003_ordinals"),
        ("subscriptions", "0003_handshakes_and_feeds"),
    ]

    operations = [
        migrations.AddField(
            model_name="delivery",
            name="feed_position",
            field=models.BigIntegerField(
                editable=False,
                help_text="Its place in its feed, once it has been fetched.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.UniqueConstraint(
                condition=models.Q(("feed_position__isnull", False)),
                fields=("endpoint", "feed_position"),
                name="delivery_has_a_place_of_its_own_in_its_feed",
            ),
        ),
    ]
