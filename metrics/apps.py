from django.apps import AppConfig


class MetricsConfig(AppConfig):
    name = "metrics"

    def ready(self) -> None:
        from programs.incidents import metrics_before

        from . import checks  # noqa: F401  (registers the system checks)
        from .queries.incident_metrics import usage_before
        from .storage import event_retention  # noqa: F401  (register themselves)

        metrics_before.append(usage_before)
