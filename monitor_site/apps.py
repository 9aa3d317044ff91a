from django.apps import AppConfig


class MonitorSiteConfig(AppConfig):
    name = "monitor_site"

    def ready(self) -> None:
        from . import checks  # noqa: F401  (registers the system checks)
