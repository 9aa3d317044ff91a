"""Backups: one archive with the database and the keys. Guide: docs/backup.md."""

from .archive import BackupError, Manifest
from .copying import copy_database
from .create import create
from .restore import restore

__all__ = ["BackupError", "Manifest", "copy_database", "create", "restore"]
