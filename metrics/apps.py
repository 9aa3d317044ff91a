from django.apps import AppConfig


class MetricsConfig(AppConfig):
    name = "metrics"

    def ready(self) -> None:
        from programs.incidents import metrics_before

        from . import checks, expiry  # noqa: F401  (register themselves)
        from .incident_metrics import usage_before

        metrics_before.append(usage_before)
