"""What operators are told of, written down where it happens."""

import django.db.models.functions.datetime
from django.db import migrations, models

FUNCTIONS = """
-- Nothing is told where nobody listens, nor of an operator's own endpoints.
CREATE FUNCTION deliveries_notice(type text, about subscriptions_endpoint, data jsonb)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO deliveries_operationalnotice (type, data)
    SELECT type, jsonb_build_object('endpoint', subscriptions_public_id('ep', about.id::text),
                                    'subscriber', subscriptions_public_id('sub', about.subscriber_id::text),
                                    'url', about.url) || data
     WHERE EXISTS (SELECT FROM subscriptions_subscriber WHERE operator)
       AND NOT EXISTS (SELECT FROM subscriptions_subscriber
                        WHERE id = about.subscriber_id AND operator)
$$;

CREATE FUNCTION deliveries_notice_endpoint() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 'disabled' THEN
        PERFORM deliveries_notice('endpoint.disabled', NEW, jsonb_build_object(
            'reason', NEW.disabled_reason, 'failing_since', NEW.failing_since));
    ELSE
        PERFORM deliveries_notice('endpoint.enabled', NEW, '{}');
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION deliveries_notice_death() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    about subscriptions_endpoint;
BEGIN
    SELECT endpoint.* INTO about
      FROM deliveries_delivery delivery
      JOIN subscriptions_endpoint endpoint ON endpoint.id = delivery.endpoint_id
     WHERE delivery.id = NEW.delivery_id;
    PERFORM deliveries_notice('delivery.dead', about, jsonb_build_object(
        'delivery', subscriptions_public_id('dlv', NEW.delivery_id::text),
        'reason', NEW.reason, 'last_error', NEW.last_error));
    RETURN NULL;
END $$;

CREATE TRIGGER notice AFTER UPDATE OF state ON subscriptions_endpoint FOR EACH ROW
    WHEN (OLD.state <> NEW.state
          AND (NEW.state = 'disabled'
               OR OLD.state = 'disabled' AND NEW.state IN ('active', 'unverified')))
    EXECUTE FUNCTION deliveries_notice_endpoint();

CREATE TRIGGER notice AFTER INSERT ON deliveries_deadletter FOR EACH ROW
    EXECUTE FUNCTION deliveries_notice_death();
"""

DROP = """
DROP TRIGGER notice ON subscriptions_endpoint;
DROP TRIGGER notice ON deliveries_deadletter;
DROP FUNCTION deliveries_notice_endpoint, deliveries_notice_death, deliveries_notice;
"""


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0003_ordinals"), ("subscriptions", "0003_operators")]
    operations = [
        migrations.CreateModel(
            name="OperationalNotice",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("type", models.CharField(max_length=128)),
                (
                    "at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("data", models.JSONField()),
            ],
            options={"default_permissions": ()},
        ),
        migrations.RunSQL(FUNCTIONS, DROP),
    ]
