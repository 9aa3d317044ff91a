"""The database that the running test uses, for processes that shall use it too."""

from __future__ import annotations

from django.db import connection


def url_of_this_database() -> str:
    given = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{given['NAME']}"
    return f"postgres://{given['USER']}:{given['PASSWORD']}@{given['HOST']}:{given['PORT']}/{given['NAME']}"
