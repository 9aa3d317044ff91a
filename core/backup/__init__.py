"""Backups: one archive with the database and the keys. Guide: docs/backup.md."""

from .archive import BackupError, Manifest
from .create import create
from .restore import restore

__all__ = ["BackupError", "Manifest", "create", "restore"]
