"""Installs what replaces the placeholders of `Sequence.advance` on PostgreSQL. See docs/adr/0021-numbers-at-commit.md.

It is here because it names columns of several apps. An app that gets another numbered column adds a migration here
that creates the function again.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

NUMBERED = (
    ("programs_program", "revision"),
    ("programs_process", "revision"),
    ("programs_intent", "revision"),
    ("programs_programevent", "seq"),
    ("metrics_alertrule", "revision"),
    ("webhooks_webhookendpoint", "revision"),
)
UPDATES = "\n".join(
    f'UPDATE {table} SET "{column}" = base + ("{column}" & 4294967295) WHERE "{column}" < 0;'  # noqa: S608
    for table, column in NUMBERED
)
# PostgreSQL runs deferred triggers in the order in which they were queued. The first row queues this one again, so
# that the checks of foreign keys, which can wait for rows of other hosts, come before the counter is locked.
FUNCTION = f"""
CREATE OR REPLACE FUNCTION core_number_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    counter text;
    taken bigint;
    base bigint;
BEGIN
    IF NEW.name LIKE 'pending.%' THEN
        DELETE FROM core_sequence WHERE name = NEW.name RETURNING value INTO taken;
        INSERT INTO core_sequence (name, value) VALUES (replace(NEW.name, 'pending.', 'counted.'), taken);
        RETURN NULL;
    END IF;
    -- All counters at once and by name: two transactions that take the same ones take them in the same order.
    FOR counter, taken IN
        WITH counted AS (
            DELETE FROM core_sequence WHERE name LIKE 'counted.' || pg_backend_pid() || '.%' RETURNING name, value
        )
        SELECT regexp_replace(name, '^counted[.][0-9]+[.]', '') AS found, value FROM counted ORDER BY found
    LOOP
        INSERT INTO core_sequence (name, value) VALUES (counter, taken)
        ON CONFLICT (name) DO UPDATE SET value = core_sequence.value + excluded.value
        RETURNING value - taken INTO base;
        IF counter = 'revision' THEN
            {UPDATES}
        END IF;
    END LOOP;
    RETURN NULL;
END $$
"""
TRIGGER = """
CREATE CONSTRAINT TRIGGER core_number_at_commit AFTER INSERT ON core_sequence DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.name LIKE 'pending.%' OR NEW.name LIKE 'counted.%')
EXECUTE FUNCTION core_number_at_commit()
"""


def install(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(FUNCTION, params=None)
        schema_editor.execute("DROP TRIGGER IF EXISTS core_number_at_commit ON core_sequence")
        schema_editor.execute(TRIGGER, params=None)


def remove(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP FUNCTION IF EXISTS core_number_at_commit() CASCADE")


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0001_initial"),
        ("programs", "0002_intent_revision"),
        ("metrics", "0002_alerts"),
        ("webhooks", "0001_initial"),
    ]
    operations = [migrations.RunPython(install, remove)]
