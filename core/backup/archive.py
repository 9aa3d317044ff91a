"""The archive format: a .tar.gz of a manifest and a few files with fixed names, sizes and SHA-256 checksums.

Reading trusts nothing in the archive: it accepts only known names, regular files and the sizes in the manifest,
and verifies the checksums of the files and of the compressed stream.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "database"
KEY_FILES = ("secrets.key", "secret_key")
MAX_MANIFEST = 1024 * 1024
CHUNK = 1024 * 1024


class BackupError(Exception):
    """Why a backup or restore failed; shown to the user."""


@dataclass(frozen=True)
class Manifest:
    product: str
    version: str
    created_at: str  # ISO 8601, UTC
    engine: str  # "sqlite" or "postgresql"
    migrations: dict[str, list[str]]  # app → names of applied migrations
    files: dict[str, dict[str, Any]]  # name → {"bytes", "sha256"}
    format: int = FORMAT


def pack(target: Path, folder: Path, manifest: Manifest) -> None:
    with tarfile.open(target, "w:gz", compresslevel=6) as tar:
        text = json.dumps(asdict(manifest), indent=2).encode()
        tar.addfile(_entry(MANIFEST, len(text)), io.BytesIO(text))
        for name, facts in manifest.files.items():
            with (folder / name).open("rb") as file:
                tar.addfile(_entry(name, facts["bytes"]), file)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o600, int(time.time())
    return entry


def checksums(folder: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            found[path.name] = {
                "bytes": path.stat().st_size,
                "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
            }
    return found


def unpack(source: Path, folder: Path) -> Manifest:
    """Extracts the verified files into the empty `folder`. Raises BackupError."""
    try:
        with gzip.open(source) as stream:
            manifest = _unpack(stream, folder)
            while stream.read(CHUNK):  # to the end, where gzip verifies the checksum of the stream
                pass
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BackupError(f"{source} is damaged or not a backup: {error}") from error
    return manifest


def _unpack(stream: gzip.GzipFile, folder: Path) -> Manifest:
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        entries = _plain_files(tar)
        name, first = next(entries, ("", io.BytesIO()))
        if name != MANIFEST:
            raise BackupError("This is not a backup: it has no manifest.")
        manifest = read_manifest(first.read(MAX_MANIFEST))
        left = dict(manifest.files)
        for name, content in entries:
            if name not in left:
                raise BackupError(f"The archive contains the unexpected file {name!r}.")
            _write_checked(content, folder / name, left.pop(name))
    if left:
        raise BackupError(f"The archive is incomplete: {', '.join(left)} is missing.")
    return manifest


def _plain_files(tar: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for entry in tar:
        content = tar.extractfile(entry) if entry.isfile() else None
        if content is None:
            raise BackupError(f"The archive contains {entry.name!r}, which is not a regular file.")
        yield entry.name, content


def _write_checked(content: IO[bytes], target: Path, facts: dict[str, Any]) -> None:
    digest, size = hashlib.sha256(), 0
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        while chunk := content.read(CHUNK):
            size += len(chunk)
            if size > facts["bytes"]:
                break
            digest.update(chunk)
            file.write(chunk)
    if size != facts["bytes"] or digest.hexdigest() != facts["sha256"]:
        raise BackupError(f"{target.name} in the archive is damaged: its checksum does not match.")


def read_manifest(text: bytes) -> Manifest:
    """Raises BackupError unless it is a manifest of this format or an older one."""
    try:
        found = json.loads(text)
        if found["format"] > FORMAT:
            raise BackupError("A newer version created this backup. Update the monitor first.")
        manifest = Manifest(**found)
        names = {DATABASE, *KEY_FILES}
        is_valid = DATABASE in manifest.files and manifest.files.keys() <= names
        is_valid = is_valid and all(isinstance(facts["bytes"], int) for facts in manifest.files.values())
        is_valid = is_valid and all(isinstance(facts["sha256"], str) for facts in manifest.files.values())
        is_valid = is_valid and all(isinstance(applied, list) for applied in manifest.migrations.values())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackupError(f"The manifest of the archive is not valid: {error}") from error
    if not is_valid:
        raise BackupError("The manifest of the archive lists unexpected files.")
    return manifest
