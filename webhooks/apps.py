from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "webhooks"

    def ready(self) -> None:
        from programs.events import event_recorded

        from . import deadman, doctor, key_rotation  # noqa: F401  (register themselves)
        from .outbox import writer

        event_recorded.connect(writer.write_deliveries, dispatch_uid="webhooks.outbox.writer")
