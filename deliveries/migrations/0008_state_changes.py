"""The state changes that no attempt tells of, and the trigger that writes them."""

import django.contrib.postgres.functions
import django.db.models.deletion
import django.db.models.functions.comparison
from django.db import migrations, models

FUNCTION = """
CREATE FUNCTION deliveries_note_state_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    endpoint record;
    last deliveries_statechange;
    cause text;
    detail text := '';
BEGIN
    SELECT state, disabled_reason, circuit INTO endpoint
      FROM subscriptions_endpoint WHERE id = NEW.endpoint_id;
    cause := CASE
        WHEN OLD.state = 'sending' THEN 'put_back'
        -- Its dead letter was resolved by the same statement.
        WHEN OLD.state = 'dead' THEN
            coalesce((SELECT nullif(resolution, '') FROM deliveries_deadletter
                       WHERE delivery_id = NEW.id ORDER BY id DESC LIMIT 1),
                     CASE NEW.state WHEN 'discarded' THEN 'discarded' ELSE 'redriven' END)
        WHEN OLD.state IN ('delivered', 'discarded') THEN 'replayed'
        WHEN NEW.state = 'held' THEN
            CASE WHEN endpoint.state = 'active' AND endpoint.circuit <> 'closed' THEN 'circuit_open'
                 ELSE 'endpoint_' || endpoint.state END
        WHEN NEW.state = 'discarded' THEN CASE endpoint.state WHEN 'deleted' THEN 'endpoint_deleted'
                                                              ELSE 'discarded' END
        WHEN NEW.state = 'dead' THEN 'expired'
        WHEN NEW.state = 'delivered' THEN 'fetched'
        WHEN OLD.state = 'held' THEN 'released'
        WHEN OLD.state = 'queued' THEN CASE WHEN NEW.ordering_key IS NULL THEN 'unordered'
                                            ELSE 'moved_up' END
        WHEN OLD.state = 'gathering' THEN 'batch_formed'
        WHEN NEW.state = 'pending' THEN 'batch_halved'
        ELSE 'lead_discarded'
    END;
    IF cause = 'put_back' THEN
        SELECT * INTO last FROM deliveries_statechange
         WHERE delivery_id = NEW.id ORDER BY id DESC LIMIT 1;
        IF last.cause = 'put_back' AND NOT EXISTS (
            SELECT FROM deliveries_attempt
             WHERE delivery_id = NEW.id AND ended_at > last.at
        ) THEN
            UPDATE deliveries_statechange SET at = now(), times = times + 1 WHERE id = last.id;
            RETURN NULL;
        END IF;
    ELSIF cause = 'endpoint_disabled' THEN
        detail := endpoint.disabled_reason;
    END IF;
    INSERT INTO deliveries_statechange (delivery_id, was, became, cause, detail)
    VALUES (NEW.id, OLD.state, NEW.state, cause, detail);
    RETURN NULL;
END $$;
"""

# A delivery that goes its plain way does not come by here: its attempts tell when it was claimed
# and what followed, and its batch what became of it there. A claim that is put back has none.
TRIGGER = """
CREATE TRIGGER state_change AFTER UPDATE OF state ON deliveries_delivery
    FOR EACH ROW
    WHEN (OLD.state <> NEW.state
          AND NEW.state NOT IN ('sending', 'batched')
          AND (OLD.state <> 'sending' OR NEW.attempt_number < OLD.attempt_number)
          AND (OLD.state <> 'batched' OR NEW.state NOT IN ('delivered', 'dead')))
    EXECUTE FUNCTION deliveries_note_state_change();
"""


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0007_timings")]
    operations = [
        migrations.CreateModel(
            name="StateChange",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "at",
                    models.DateTimeField(
                        db_default=django.contrib.postgres.functions.TransactionNow(),
                        help_text="Of several in a row, the last.",
                    ),
                ),
                (
                    "was",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("sending", "Sending"),
                            ("waiting", "Waiting"),
                            ("held", "Held"),
                            ("gathering", "Gathering"),
                            ("queued", "Queued"),
                            ("batched", "Batched"),
                            ("delivered", "Delivered"),
                            ("dead", "Dead"),
                            ("discarded", "Discarded"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "became",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("sending", "Sending"),
                            ("waiting", "Waiting"),
                            ("held", "Held"),
                            ("gathering", "Gathering"),
                            ("queued", "Queued"),
                            ("batched", "Batched"),
                            ("delivered", "Delivered"),
                            ("dead", "Dead"),
                            ("discarded", "Discarded"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "cause",
                    models.CharField(
                        choices=[
                            ("put_back", "Put Back"),
                            ("endpoint_active", "Endpoint Active"),
                            ("circuit_open", "Circuit Open"),
                            ("endpoint_paused", "Endpoint Paused"),
                            ("endpoint_disabled", "Endpoint Disabled"),
                            ("endpoint_unverified", "Endpoint Unverified"),
                            ("endpoint_feed", "Endpoint Feed"),
                            ("endpoint_deleted", "Endpoint Deleted"),
                            ("released", "Released"),
                            ("fetched", "Fetched"),
                            ("expired", "Expired"),
                            ("moved_up", "Moved Up"),
                            ("unordered", "Unordered"),
                            ("batch_formed", "Batch Formed"),
                            ("batch_halved", "Batch Halved"),
                            ("lead_discarded", "Lead Discarded"),
                            ("redriven", "Redriven"),
                            ("recovered", "Recovered"),
                            ("replayed", "Replayed"),
                            ("discarded", "Discarded"),
                            ("dropped", "Dropped"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "detail",
                    models.CharField(
                        db_default="", help_text="Why it was disabled.", max_length=200
                    ),
                ),
                (
                    "times",
                    models.PositiveIntegerField(
                        db_default=1,
                        help_text="How often in a row: what is put back may be so many times.",
                    ),
                ),
                (
                    "actor_kind",
                    models.CharField(
                        choices=[
                            ("user", "User"),
                            ("api_key", "API key"),
                            ("command", "Command"),
                            ("angarium", "Angarium"),
                        ],
                        db_default=django.db.models.functions.comparison.Coalesce(
                            django.db.models.functions.comparison.NullIf(
                                models.Func(
                                    models.Value("angarium.actor_kind"),
                                    models.Value(True),
                                    function="current_setting",
                                ),
                                models.Value(""),
                            ),
                            models.Value("angarium"),
                        ),
                        max_length=10,
                    ),
                ),
                (
                    "actor_id",
                    models.CharField(
                        db_default=django.db.models.functions.comparison.Coalesce(
                            django.db.models.functions.comparison.NullIf(
                                models.Func(
                                    models.Value("angarium.actor_id"),
                                    models.Value(True),
                                    function="current_setting",
                                ),
                                models.Value(""),
                            ),
                            models.Value(""),
                        ),
                        max_length=64,
                    ),
                ),
                (
                    "actor_name",
                    models.CharField(
                        db_default=django.db.models.functions.comparison.Coalesce(
                            django.db.models.functions.comparison.NullIf(
                                models.Func(
                                    models.Value("angarium.actor_name"),
                                    models.Value(True),
                                    function="current_setting",
                                ),
                                models.Value(""),
                            ),
                            models.Value(""),
                        ),
                        max_length=200,
                    ),
                ),
                (
                    "delivery",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="state_changes",
                        to="deliveries.delivery",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["delivery", "id"], name="state_change_of_delivery")
                ],
            },
        ),
        migrations.RunSQL(FUNCTION, "DROP FUNCTION deliveries_note_state_change"),
        migrations.RunSQL(TRIGGER, "DROP TRIGGER state_change ON deliveries_delivery"),
    ]
