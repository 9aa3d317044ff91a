from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "core"
    verbose_name = "Access"

    def ready(self) -> None:
        from . import checks, doctor_checks  # noqa: F401  (register themselves)
        from .access import login  # noqa: F401  (connects the receivers)
        from .clock import restore_tz
        from .errors import store  # noqa: F401  (registers the retention of errors)

        restore_tz()
