"""Key rotation for secret environment variables."""

from __future__ import annotations

from core.doorbell import ring_on_commit
from core.key_rotation import Visit, register_rotation
from core.models import Sequence

from .models import Program


def environment_variables(visit: Visit) -> None:
    changed = False
    for program in Program.everything.select_for_update(no_key=True).only("pk", "environment").order_by("pk"):
        environment = [
            {**entry, "encrypted": visit(entry["encrypted"])} if entry.get("secret") else entry
            for entry in program.environment
        ]
        if environment != program.environment:
            revision = Sequence.advance()  # a new revision makes the agent read the program again
            Program.everything.filter(pk=program.pk).update(environment=environment, revision=revision)
            changed = True
    if changed:
        ring_on_commit("agent")


register_rotation("secret environment variables", environment_variables)
