from django.apps import AppConfig


class MetricsConfig(AppConfig):
    name = "metrics"

    def ready(self) -> None:
        from core import replica
        from programs.incidents import metrics_before

        from .models import HostUsage
        from .queries.incident_metrics import usage_before
        from .storage import event_retention  # noqa: F401  (register themselves)
        from .storage.tiers import TIERS

        replica.register(HostUsage, *(tier.model for tier in TIERS))
        metrics_before.append(usage_before)
