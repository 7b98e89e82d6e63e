"""The triggers that write the history."""

from dataclasses import dataclass

from django.db import migrations


@dataclass(frozen=True)
class Watched:
    """A table whose rows have a history."""

    kind: str
    id: str
    """The column that a row is known by; ids that are UUIDs in the database have a `prefix`."""
    prefix: str
    name: str
    """The column that people know a row by, or "" """
    told: str
    """The columns whose values are told."""
    untold: str
    """Those of which it is told that they changed. Changes of the rest are nobody's."""


WATCHED = {
    "subscriptions_subscriber": Watched(
        kind="subscriber",
        id="id",
        prefix="sub",
        name="name",
        told="name external_id feature_flags",
        untold="",
    ),
    "subscriptions_endpoint": Watched(
        kind="endpoint",
        id="id",
        prefix="ep",
        name="url",
        told="url description state max_in_flight disabled_reason credentials_shown "
        "signature_profile format payload projection gzip_above batch_events batch_seconds batch_bytes ordered",
        untold="subscriber_id credentials",
    ),
    "subscriptions_subscription": Watched(
        kind="subscription",
        id="id",
        prefix="sbn",
        name="pattern",
        told="pattern channels filter enabled",
        untold="endpoint_id",
    ),
    "subscriptions_signingsecret": Watched(
        kind="signing_secret",
        id="id",
        prefix="sec",
        name="",
        told="public_key expires_at",
        untold="endpoint_id ciphertext",
    ),
    "subscriptions_eventtype": Watched(
        kind="event_type",
        id="name",
        prefix="",
        name="name",
        told="description group archived feature_flag schema schema_check example",
        untold="",
    ),
    "subscriptions_apikey": Watched(
        kind="api_key",
        id="prefix",
        prefix="",
        name="name",
        told="name scopes rate expiry_date revoked",
        untold="subscriber_id hashed_key",
    ),
}

FUNCTIONS = """
-- A UUIDv7 (RFC 9562, 5.7 and method 3 of 6.2): ids sort by the microsecond.
CREATE FUNCTION subscriptions_uuid7() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(
               substring(int8send(micros / 1000) FROM 3)
               || substring(int4send((x'7000'::int + micros % 1000 * 4)::int) FROM 3)
               || substring(uuid_send(gen_random_uuid()) FROM 9),
               'hex')::uuid
      FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros) now
$$;

CREATE FUNCTION subscriptions_public_id(prefix text, id text) RETURNS text LANGUAGE sql IMMUTABLE
AS $$ SELECT coalesce(prefix || '_' || replace(id, '-', ''), '') $$;

-- Its arguments are the fields of Watched.
CREATE FUNCTION subscriptions_note_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    kind text := TG_ARGV[0];
    told text[] := string_to_array(TG_ARGV[4], ' ');
    untold text[] := string_to_array(TG_ARGV[5], ' ');
    was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    became jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    this jsonb := coalesce(became, was);
    endpoint text := CASE kind WHEN 'endpoint' THEN this ->> 'id' ELSE this ->> 'endpoint_id' END;
    subscriber text := CASE kind WHEN 'subscriber' THEN this ->> 'id'
                                 ELSE this ->> 'subscriber_id' END;
    changes jsonb;
BEGIN
    IF current_setting('angarium.reencrypting', true) = 'on' THEN
        RETURN NULL;
    END IF;
    SELECT coalesce(jsonb_object_agg(
               name,
               CASE WHEN name = ANY (told) THEN jsonb_build_array(was -> name, became -> name) END
           ), '{}')
      INTO changes
      FROM jsonb_object_keys(this) name
     WHERE CASE TG_OP
               WHEN 'UPDATE' THEN name = ANY (told || untold)
                                  AND was -> name IS DISTINCT FROM became -> name
               ELSE name = ANY (told) AND this -> name NOT IN ('null', '""', '[]')
           END;
    IF TG_OP = 'UPDATE' AND changes = '{}' THEN
        RETURN NULL;
    END IF;
    IF subscriber IS NULL AND endpoint IS NOT NULL THEN
        SELECT subscriber_id INTO subscriber
          FROM subscriptions_endpoint WHERE id = endpoint::uuid;
    END IF;
    INSERT INTO subscriptions_historyentry
           (id, action, kind, object_id, name, endpoint, subscriber, changes)
    VALUES (subscriptions_uuid7(),
            CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'changed'
                       ELSE 'deleted' END,
            kind,
            CASE TG_ARGV[2] WHEN '' THEN this ->> TG_ARGV[1]
                            ELSE subscriptions_public_id(TG_ARGV[2], this ->> TG_ARGV[1]) END,
            coalesce(this ->> nullif(TG_ARGV[3], ''), ''),
            subscriptions_public_id('ep', endpoint),
            subscriptions_public_id('sub', subscriber),
            changes);
    RETURN NULL;
END $$;

CREATE FUNCTION subscriptions_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'An entry of the history stays as it was written.';
END $$;

CREATE TRIGGER history_stays BEFORE UPDATE ON subscriptions_historyentry
    EXECUTE FUNCTION subscriptions_refuse_change();
"""


def trigger(table: str, watched: Watched) -> str:
    call = (
        "subscriptions_note_change("
        f"'{watched.kind}', '{watched.id}', '{watched.prefix}', '{watched.name}', "
        f"'{watched.told}', '{watched.untold}')"
    )
    columns = ", ".join(f'"{name}"' for name in f"{watched.told} {watched.untold}".split())
    # An endpoint's health is written often: an UPDATE of other columns must not come by here.
    return f"""
        CREATE TRIGGER history AFTER INSERT OR DELETE OR UPDATE OF {columns} ON {table}
            FOR EACH ROW EXECUTE FUNCTION {call};
    """


class Migration(migrations.Migration):
    dependencies = [("subscriptions", "0001_initial")]
    operations = [
        migrations.RunSQL(
            FUNCTIONS,
            """
            DROP TRIGGER history_stays ON subscriptions_historyentry;
            DROP FUNCTION subscriptions_refuse_change, subscriptions_note_change,
                          subscriptions_public_id, subscriptions_uuid7;
            """,
        ),
        *(
            migrations.RunSQL(trigger(table, watched), f"DROP TRIGGER history ON {table}")
            for table, watched in WATCHED.items()
        ),
    ]
