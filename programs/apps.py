from django.apps import AppConfig


class ProgramsConfig(AppConfig):
    name = "programs"

    def ready(self) -> None:
        from . import checks, doctor, key_rotation  # noqa: F401  (imported to register)
