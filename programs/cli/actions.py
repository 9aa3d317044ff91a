"""`program start`, `stop`, `restart` and `kill`: ask the agent, then tell what came of it."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Mapping

from core.access import command_actor
from core.cli.exit_codes import Exit, FailedError
from core.cli.subcommand import Subcommand
from core.cli.terminal import Options, Terminal
from programs import services, status
from programs.action_outcome import JUDGES, Asked, Verdict, already, scaled
from programs.models import Program
from programs.payloads import ProgramStatus
from programs.states import Action, State

from .selection import add_all, add_selection, expressly_named, one
from .wait import Outcome, add_waiting, outcomes, silent_text


class Scale(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="a program's name or id")
        parser.add_argument("instances", type=int, metavar="N", help="within its instances_min and instances_max")
        add_waiting(parser)
        parser.add_argument("--json", action="store_true", help="as of `program start`")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        program = one(options.name)
        before = status.one_program(program.pk)
        if before is None:
            raise FailedError(f"{program.name} was removed meanwhile.")
        services.scale(program, options.instances, actor=command_actor())
        asked = {program.pk: Asked(before, program.success_exit_codes)}
        if options.wait:
            found = outcomes(asked, scaled, options.timeout, terminal.warn)
        else:
            found = unawaited(asked.values(), f"scaling to {options.instances} asked for", terminal)
        return reported(found, options, terminal)


class VerbCommand(Subcommand):
    verb: Action

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_selection(parser)
        add_all(parser)
        add_waiting(parser)
        parser.add_argument(
            "--json", action="store_true", help='a list of {"id", "name", "done", "detail", "status"}'
        )

    def run(self, options: Options, terminal: Terminal) -> Exit:
        chosen = {program["id"]: program for program in expressly_named(options)}
        if not chosen:
            terminal.warn("There are no programs yet; `program add` defines one.")
        return reported(self._outcomes(chosen, options, terminal), options, terminal)

    def _outcomes(
        self, chosen: Mapping[int, ProgramStatus], options: Options, terminal: Terminal
    ) -> Iterator[Outcome]:
        programs = Program.objects.select_related("host").in_bulk(chosen)
        refused = services.request_many(programs.values(), self.verb, actor=command_actor())
        asked = {}
        for program_id, before in chosen.items():
            refusal = refused.get(program_id, "somebody removed it meanwhile")
            verdict = self._refused(before, refusal) if refusal else None
            if verdict:
                yield Outcome(before, verdict)
            else:
                asked[program_id] = Asked(before, programs[program_id].success_exit_codes)
        if options.wait:
            yield from outcomes(asked, JUDGES[self.verb], options.timeout, terminal.warn)
        else:
            yield from unawaited(asked.values(), f"{self.verb} asked for", terminal)

    def _refused(self, before: ProgramStatus, refusal: str) -> Verdict | None:
        """None for a program that is on its way by itself."""
        if self.verb is Action.START and before["state"] == State.STARTING:
            return None
        return already(self.verb, before) or Verdict(False, refusal.removeprefix(f"{before['name']} ").rstrip("."))


class Start(VerbCommand):
    verb = Action.START


class Stop(VerbCommand):
    verb = Action.STOP


class Restart(VerbCommand):
    verb = Action.RESTART


class Kill(VerbCommand):
    verb = Action.KILL


def unawaited(asked: Iterable[Asked], text: str, terminal: Terminal) -> Iterator[Outcome]:
    """What can be said without waiting; warns of agents that will not hear it now."""
    wishes = list(asked)
    for host in sorted({wish.before["host"] or "" for wish in wishes if wish.before["state"] == State.UNKNOWN}):
        terminal.warn(silent_text(host))
    return (Outcome(wish.before, Verdict(True, text)) for wish in wishes)


def reported(found: Iterable[Outcome], options: Options, terminal: Terminal) -> Exit:
    """Tells each outcome, or all of them as JSON at the end; FAILED when one was not reached."""
    told = []
    for outcome in found:
        told.append(outcome)
        if not options.json:
            terminal.say(f"{outcome.program['name']}: {outcome.verdict.text}")
    if options.json:
        terminal.json([_as_json(outcome) for outcome in told])
    return Exit.DONE if all(outcome.verdict.reached for outcome in told) else Exit.FAILED


def _as_json(outcome: Outcome) -> dict[str, object]:
    program, verdict = outcome
    return {
        "id": program["id"],
        "name": program["name"],
        "done": verdict.reached,
        "detail": verdict.text,
        "status": program,
    }
