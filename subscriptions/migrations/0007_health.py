"""How endpoints fare: their rate, their circuit, how near they are to being disabled."""

from dataclasses import replace
from importlib import import_module

import django.core.validators
from django.db import migrations, models

history = import_module("subscriptions.migrations.0002_history_triggers")

TABLE = "subscriptions_endpoint"
BEFORE = import_module("subscriptions.migrations.0006_traces").NOW
# When a circuit opened, it and its closing: not each probe in between.
WATCHED = replace(BEFORE, told=f"{BEFORE.told} rate burst circuit_opened_at")


class Migration(migrations.Migration):
    dependencies = [
        ("subscriptions", "0006_traces"),
    ]

    operations = [
        migrations.AddField(
            model_name="endpoint",
            name="burst",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="How many of them may come at once; what the rate allows in a second, if empty.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(100000),
                ],
            ),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="circuit",
            field=models.CharField(
                choices=[("closed", "Closed"), ("open", "Open"), ("half_open", "Half-open")],
                default="closed",
                editable=False,
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="circuit_opened_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="failure_warning",
            field=models.PositiveSmallIntegerField(
                default=0,
                editable=False,
                help_text="How far it is on its way to being disabled, in per cent: 50, 70 or 90.",
            ),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="openings",
            field=models.PositiveSmallIntegerField(
                default=0,
                editable=False,
                help_text="How often it has opened since it was last closed.",
            ),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="probe",
            field=models.UUIDField(
                editable=False,
                help_text="The delivery that probes it, while it is half-open.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="probe_at",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="When its circuit is probed: by the next delivery that there is then.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="rate",
            field=models.CharField(
                blank=True,
                default="",
                help_text="How many requests it gets at most, as in 100/s or 30/m; any number, if empty.",
                max_length=12,
                validators=[
                    django.core.validators.RegexValidator(
                        "^[1-9][0-9]{0,8}/[smhd]$", "Write a number and /s, /m, /h or /d: 100/s."
                    )
                ],
            ),
        ),
        migrations.AddIndex(
            model_name="endpoint",
            index=models.Index(
                condition=models.Q(("failing_since__isnull", False)),
                fields=["failing_since"],
                name="endpoint_failing",
            ),
        ),
        migrations.AddIndex(
            model_name="endpoint",
            index=models.Index(
                condition=models.Q(("circuit", "closed"), _negated=True),
                fields=["probe_at"],
                name="endpoint_not_closed",
            ),
        ),
        migrations.AddConstraint(
            model_name="endpoint",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("rate", ""), ("rate__regex", "^[1-9][0-9]{0,8}/[smhd]$"), _connector="OR"
                ),
                name="endpoint_rate_is_well_formed",
            ),
        ),
        migrations.AddConstraint(
            model_name="endpoint",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("burst", None),
                    models.Q(("burst__gte", 1), models.Q(("rate", ""), _negated=True)),
                    _connector="OR",
                ),
                name="endpoint_has_a_burst_only_with_a_rate",
            ),
        ),
        migrations.AddConstraint(
            model_name="endpoint",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("failure_warning", 0),
                    models.Q(
                        ("failing_since__isnull", False), ("failure_warning__in", [50, 70, 90])
                    ),
                    _connector="OR",
                ),
                name="endpoint_is_warned_of_only_while_it_fails",
            ),
        ),
        migrations.AddConstraint(
            model_name="endpoint",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("circuit", "closed"),
                        ("circuit_opened_at", None),
                        ("openings", 0),
                        ("probe", None),
                        ("probe_at", None),
                    ),
                    models.Q(
                        models.Q(
                            models.Q(
                                ("circuit", "open"), ("probe", None), ("probe_at__isnull", False)
                            ),
                            models.Q(
                                ("circuit", "half_open"),
                                ("probe__isnull", False),
                                ("probe_at", None),
                            ),
                            _connector="OR",
                        ),
                        ("circuit_opened_at__isnull", False),
                        ("openings__gte", 1),
                    ),
                    _connector="OR",
                ),
                name="endpoint_circuit_knows_how_it_goes_on",
            ),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="takes_deliveries",
            field=models.GeneratedField(
                db_persist=True,
                expression=models.ExpressionWrapper(
                    models.Q(("circuit", "closed"), ("state", "active")), models.BooleanField()
                ),
                output_field=models.BooleanField(),
            ),
        ),
        migrations.RunSQL(
            f"DROP TRIGGER history ON {TABLE}; {history.trigger(TABLE, WATCHED)}",
            f"DROP TRIGGER history ON {TABLE}; {history.trigger(TABLE, BEFORE)}",
        ),
    ]
