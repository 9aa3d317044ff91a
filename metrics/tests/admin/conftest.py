from programs.tests.admin.conftest import admin, host, program, viewer, visitor

__all__ = ["admin", "host", "program", "viewer", "visitor"]
