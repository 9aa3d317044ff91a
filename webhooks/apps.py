from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "webhooks"

    def ready(self) -> None:
        from programs.events import event_recorded

        from . import checks, doctor, key_rotation, outbox  # noqa: F401  (register themselves)

        event_recorded.connect(outbox.fan_out, dispatch_uid="webhooks.outbox")
