from django.apps import AppConfig


class ProgramsConfig(AppConfig):
    name = "programs"

    def ready(self) -> None:
        from core import replica

        from . import checks, doctor, key_rotation  # noqa: F401  (register themselves)
        from .models import Incident, ProgramEvent

        replica.register(ProgramEvent, Incident)
