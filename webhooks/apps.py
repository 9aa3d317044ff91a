from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "webhooks"

    def ready(self) -> None:
        from programs.events import event_recorded

        from . import checks, doctor, key_rotation  # noqa: F401  (register themselves)
        from .outbox import writer

        event_recorded.connect(writer.fan_out, dispatch_uid="webhooks.outbox.writer")
