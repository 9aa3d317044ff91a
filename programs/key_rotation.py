"""Key rotation for secret environment variables."""

from __future__ import annotations

from core.doorbell import ring_on_commit
from core.key_rotation import Visit, register_rotation
from core.models import Sequence

from .models import Program


def environment_variables(visit: Visit) -> None:
    changed = False
    programs = Program.everything.only("pk", "environment", "replaced_secrets").order_by("pk")
    for program in programs.select_for_update(no_key=True):
        environment = [
            {**entry, "encrypted": visit(entry["encrypted"])} if entry.get("secret") else entry
            for entry in program.environment
        ]
        replaced = [visit(token) for token in program.replaced_secrets]
        if environment != program.environment or replaced != program.replaced_secrets:
            revision = Sequence.advance()  # a new revision makes the agent read the program again
            Program.everything.filter(pk=program.pk).update(
                environment=environment, replaced_secrets=replaced, revision=revision
            )
            changed = True
    if changed:
        ring_on_commit("agent")


register_rotation("secret environment variables", environment_variables)
