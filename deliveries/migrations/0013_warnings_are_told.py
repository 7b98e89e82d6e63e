"""Operators are told of endpoints that do nothing but fail, before these are disabled."""

from django.db import migrations

TRIGGER = """
CREATE FUNCTION deliveries_notice_warning() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM deliveries_notice('endpoint.warning', NEW, jsonb_build_object(
        'percent', NEW.failure_warning, 'failing_since', NEW.failing_since));
    RETURN NULL;
END $$;

-- Of one that is disabled by the same statement, that is told.
CREATE TRIGGER notice_of_warning AFTER UPDATE OF failure_warning ON subscriptions_endpoint
    FOR EACH ROW
    WHEN (NEW.failure_warning > OLD.failure_warning AND NEW.state <> 'disabled')
    EXECUTE FUNCTION deliveries_notice_warning();
"""

DROP = """
DROP TRIGGER notice_of_warning ON subscriptions_endpoint;
DROP FUNCTION deliveries_notice_warning;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("deliveries", "0012_endpoint_disabled"),
        ("subscriptions", "0007_health"),
    ]
    operations = [migrations.RunSQL(TRIGGER, DROP)]
