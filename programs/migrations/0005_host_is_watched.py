from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('programs', '0004_event_restarts_index'),
    ]

    operations = [
        migrations.AddField(
            model_name='host',
            name='is_watched',
            field=models.BooleanField(default=False, editable=False),
        ),
    ]
