from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("core", "0004_errorgroup"),
    ]

    operations = [
        migrations.CreateModel(
            name="RetentionState",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kept",
                    models.JSONField(
                        default=dict, help_text="Setting → value, as the agent of the default host has it"
                    ),
                ),
                (
                    "owner",
                    models.CharField(blank=True, help_text="The host whose agent deletes", max_length=255),
                ),
                ("renewed_at", models.DateTimeField(help_text="When the owner claimed this last", null=True)),
                (
                    "seen_at",
                    models.DateTimeField(help_text="The last time at which the clock was trusted", null=True),
                ),
                (
                    "boot",
                    models.CharField(
                        blank=True, help_text="The kernel's id of the boot at `seen_at`", max_length=64
                    ),
                ),
                ("uptime", models.FloatField(default=0.0, help_text="Seconds since that boot at `seen_at`")),
                (
                    "held_since",
                    models.DateTimeField(
                        help_text="Nothing is deleted until a person confirms the clock", null=True
                    ),
                ),
            ],
        ),
    ]
