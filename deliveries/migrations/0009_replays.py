"""Replays: jobs that send again what was sent, or at last what was not."""

import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import subscriptions.ids

# Operators are told, as of what migration 0004 tells them of.
NOTICE = """
CREATE FUNCTION deliveries_notice_replay() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    about subscriptions_endpoint;
BEGIN
    SELECT endpoint.* INTO about
      FROM subscriptions_endpoint endpoint WHERE endpoint.id = NEW.endpoint_id;
    PERFORM deliveries_notice('replay.finished', about, jsonb_build_object(
        'replay', subscriptions_public_id('rpl', NEW.id::text),
        'kind', NEW.kind, 'replayed', NEW.replayed));
    RETURN NULL;
END $$;

CREATE TRIGGER notice AFTER UPDATE OF state ON deliveries_replay FOR EACH ROW
    WHEN (NEW.state = 'finished')
    EXECUTE FUNCTION deliveries_notice_replay();
"""

DROP_NOTICE = """
DROP TRIGGER notice ON deliveries_replay;
DROP FUNCTION deliveries_notice_replay;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("deliveries", "0008_state_changes"),
        ("subscriptions", "0005_replays_in_history"),
    ]

    operations = [
        migrations.AlterField(
            model_name="deadletter",
            name="resolution",
            field=models.CharField(
                blank=True,
                choices=[
                    ("redriven", "Redriven"),
                    ("recovered", "Recovered"),
                    ("replayed", "Replayed"),
                    ("discarded", "Discarded"),
                    ("dropped", "Dropped"),
                ],
                max_length=10,
            ),
        ),
        migrations.CreateModel(
            name="Replay",
            fields=[
                ("id", subscriptions.ids.IdField(prefix="rpl", serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("again", "again: what it was sent before"),
                            ("missed", "missed: events that it asks for and never got"),
                        ],
                        default="again",
                        help_text="What it is sent.",
                        max_length=10,
                    ),
                ),
                (
                    "pattern",
                    models.CharField(
                        default="*",
                        help_text="Only events of this type (invoice.paid), or below it (invoice.*); or all (*).",
                        max_length=128,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A(\\*|[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*(\\.\\*)?)\\Z",
                                "Use an event type (invoice.paid), all below one (invoice.*), or all (*).",
                            )
                        ],
                    ),
                ),
                (
                    "states",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            choices=[
                                ("delivered", "delivered"),
                                ("dead", "dead"),
                                ("discarded", "discarded"),
                            ],
                            max_length=10,
                        ),
                        blank=True,
                        default=list,
                        help_text="Only deliveries that ended so; what was delivered or is dead, where empty.",
                        size=None,
                    ),
                ),
                (
                    "since",
                    models.DateTimeField(
                        blank=True,
                        help_text="Only events emitted from then on. Where empty: all that it was sent; of those that it never got, the ones emitted since it was registered.",
                        null=True,
                    ),
                ),
                (
                    "until",
                    models.DateTimeField(
                        blank=True, help_text="Only events emitted before; now, if empty."
                    ),
                ),
                (
                    "rate",
                    models.PositiveSmallIntegerField(
                        default=50,
                        help_text="So many a second at most, 1 to 1000.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(1000),
                        ],
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("running", "Running"),
                            ("paused", "Paused"),
                            ("finished", "Finished"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="running",
                        max_length=10,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "due_at",
                    models.DateTimeField(
                        editable=False,
                        help_text="When it goes on; empty unless it is running.",
                        null=True,
                    ),
                ),
                (
                    "cursor",
                    models.UUIDField(
                        editable=False,
                        help_text="The last delivery, or event, that it has come by.",
                        null=True,
                    ),
                ),
                (
                    "replayed",
                    models.PositiveBigIntegerField(
                        default=0,
                        editable=False,
                        help_text="How many it has sent, or put on their way.",
                    ),
                ),
                ("ended_at", models.DateTimeField(editable=False, null=True)),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="replays",
                        to="subscriptions.endpoint",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "running")),
                        fields=["due_at"],
                        name="replay_running",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state__in", ["running", "paused"])),
                        fields=("endpoint",),
                        name="replay_under_way_once_per_endpoint",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["again", "missed"])),
                        name="replay_kind_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("kind", "again"),
                                ("states__contained_by", ["delivered", "dead", "discarded"]),
                                ("states__len__gt", 0),
                            ),
                            models.Q(("kind", "missed"), ("since__isnull", False), ("states", [])),
                            _connector="OR",
                        ),
                        name="replay_says_of_deliveries_alone_how_they_ended",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("since__isnull", True),
                            ("since__lt", models.F("until")),
                            _connector="OR",
                        ),
                        name="replay_range_has_a_beginning_before_its_end",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("rate__gte", 1), ("rate__lte", 1000)),
                        name="replay_rate_is_bounded",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("due_at__isnull", False),
                                ("ended_at__isnull", True),
                                ("state", "running"),
                            ),
                            models.Q(
                                ("due_at__isnull", True),
                                ("ended_at__isnull", True),
                                ("state", "paused"),
                            ),
                            models.Q(
                                ("due_at__isnull", True),
                                ("ended_at__isnull", False),
                                ("state__in", ["finished", "cancelled"]),
                            ),
                            _connector="OR",
                        ),
                        name="replay_is_due_while_it_is_running_and_has_ended_at_its_end",
                    ),
                ],
            },
        ),
        migrations.RunSQL(NOTICE, DROP_NOTICE),
    ]
