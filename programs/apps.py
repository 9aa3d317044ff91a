from django.apps import AppConfig


class ProgramsConfig(AppConfig):
    name = "programs"

    def ready(self) -> None:
        from core import replica

        from . import checks, doctor, key_rotation  # noqa: F401  (imported to register)
        from .models import Incident, ProgramEvent

        replica.register(ProgramEvent, Incident)
