from django.db import migrations

RIGHTS = {
    "read": "Can see programs, events and logs",
    "operate": "Can start, stop and restart programs",
    "administer": "Can define programs, which means running any command",
}
GROUPS = {
    "Viewers": ["read"],
    "Operators": ["read", "operate"],
    "Administrators": ["read", "operate", "administer"],
}


def make_groups(apps, schema_editor):
    """Django makes permissions after all migrations; the groups need theirs now."""
    db = schema_editor.connection.alias
    content_types = apps.get_model("contenttypes", "ContentType").objects.using(db)
    permissions = apps.get_model("auth", "Permission").objects.using(db)
    groups = apps.get_model("auth", "Group").objects.using(db)
    content_type, _ = content_types.get_or_create(app_label="core", model="access")
    made = {
        codename: permissions.get_or_create(content_type=content_type, codename=codename, defaults={"name": name})[0]
        for codename, name in RIGHTS.items()
    }
    for name, codenames in GROUPS.items():
        group, _ = groups.get_or_create(name=name)
        group.permissions.add(*(made[codename] for codename in codenames))


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0002_loginthrottle"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
