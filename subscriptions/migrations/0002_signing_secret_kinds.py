from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("subscriptions", "0001_initial")]

    operations = [
        migrations.AlterModelOptions(
            name="signingsecret",
            options={
                "ordering": ["-id"],
                "permissions": [("reveal_signingsecret", "Can reveal signing secret")],
            },
        ),
        migrations.AddField(
            model_name="signingsecret",
            name="public_key",
            field=models.CharField(
                blank=True,
                editable=False,
                help_text="What the receiver verifies with; empty where that is the secret itself.",
                max_length=60,
            ),
        ),
        migrations.AddIndex(
            model_name="signingsecret",
            index=models.Index(
                condition=models.Q(("expires_at__isnull", False)),
                fields=["expires_at"],
                name="signing_secret_expired",
            ),
        ),
        migrations.AddConstraint(
            model_name="signingsecret",
            constraint=models.UniqueConstraint(
                condition=models.Q(("expires_at", None)),
                fields=("endpoint",),
                name="one_signing_secret_per_endpoint_does_not_expire",
            ),
        ),
    ]
