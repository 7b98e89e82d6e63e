import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("subscriptions", "0002_history_triggers"),
    ]

    operations = [
        migrations.CreateModel(
            name="Feed",
            fields=[
                (
                    "endpoint",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        serialize=False,
                        to="subscriptions.endpoint",
                    ),
                ),
                ("last_position", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="Handshake",
            fields=[
                (
                    "endpoint",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        serialize=False,
                        to="subscriptions.endpoint",
                    ),
                ),
                ("required_at", models.DateTimeField()),
                (
                    "due_at",
                    models.DateTimeField(
                        help_text="When the challenge is sent (again); empty once that is over.",
                        null=True,
                    ),
                ),
                ("tries", models.PositiveSmallIntegerField(default=0)),
                ("tried_at", models.DateTimeField(null=True)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("delivered", "delivered"),
                            ("rejected", "rejected"),
                            ("redirected", "redirected"),
                            ("timed_out", "timed out"),
                            ("connection_failed", "connection failed"),
                            ("name_not_resolved", "name not resolved"),
                            ("tls_failed", "tls failed"),
                            ("proxy_failed", "proxy failed"),
                            ("address_refused", "address refused"),
                            ("name_refused", "name refused"),
                            ("response_invalid", "response invalid"),
                            ("authorization_failed", "authorization failed"),
                            ("interrupted", "interrupted"),
                            ("unrenderable", "unrenderable"),
                        ],
                        max_length=20,
                        null=True,
                    ),
                ),
                (
                    "status",
                    models.PositiveSmallIntegerField(
                        help_text="The HTTP status, if one came.", null=True
                    ),
                ),
                ("error", models.TextField(blank=True, help_text="Why it is not verified.")),
                ("response_body", models.TextField(blank=True, help_text="Its first 4 KiB.")),
                ("verified_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="endpoint",
            name="endpoint_state_is_known",
        ),
        migrations.AlterField(
            model_name="endpoint",
            name="state",
            field=models.CharField(
                choices=[
                    ("active", "Active"),
                    ("unverified", "Unverified"),
                    ("paused", "Paused"),
                    ("disabled", "Disabled"),
                    ("feed", "Feed"),
                    ("deleted", "Deleted"),
                ],
                default="active",
                max_length=10,
            ),
        ),
        migrations.AddConstraint(
            model_name="endpoint",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["active", "unverified", "paused", "disabled", "feed", "deleted"])
                ),
                name="endpoint_state_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="endpoint",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state", "deleted"),
                    models.Q(("state", "feed"), ("url", "")),
                    models.Q(
                        models.Q(("state", "feed"), _negated=True),
                        models.Q(("url", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="endpoint_has_a_url_unless_it_is_a_feed",
            ),
        ),
        migrations.AddConstraint(
            model_name="endpoint",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "feed")),
                fields=("subscriber",),
                name="one_feed_per_subscriber",
            ),
        ),
        migrations.AddIndex(
            model_name="handshake",
            index=models.Index(
                condition=models.Q(("due_at__isnull", False)),
                fields=["due_at"],
                name="handshake_due",
            ),
        ),
    ]
