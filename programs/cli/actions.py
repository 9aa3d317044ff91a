"""`program start`, `stop`, `restart`, `kill` and `scale`: send a request to the agent and report the outcome."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Mapping

from core.access import command_actor
from core.cli.exit_codes import Exit, FailedError
from core.cli.subcommand import Subcommand
from core.cli.terminal import Options, Terminal
from programs import services, status
from programs.action_outcome import OUTCOMES, ActionOutcome, ActionRequest, OutcomeCheck, existing_outcome, scaled
from programs.models import Program
from programs.payloads import ProgramStatus
from programs.states import Action, State

from .selection import add_all, add_selection, find_program, selected_programs
from .wait import Result, add_waiting, agent_lost_text, wait_for_outcomes


class Scale(Subcommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="name or id of a program")
        parser.add_argument(
            "instances", type=int, metavar="N", help="between the program's instances_min and instances_max"
        )
        add_waiting(parser)
        parser.add_argument("--json", action="store_true", help="print JSON, like `program start`")

    def run(self, options: Options, terminal: Terminal) -> Exit:
        program = find_program(options.name)
        before = status.one_program(program.pk)
        if before is None:
            raise FailedError(f"{program.name} was removed meanwhile.")
        services.scale(program, options.instances, actor=command_actor())
        requests = {program.pk: ActionRequest(before, program.success_exit_codes)}
        text = f"scaling to {options.instances} requested"
        return report(results(requests, scaled, text, options, terminal), options, terminal)


class ActionCommand(Subcommand):
    action: Action

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_selection(parser)
        add_all(parser)
        add_waiting(parser)
        parser.add_argument(
            "--json", action="store_true", help='print a list of {"id", "name", "done", "detail", "status"}'
        )

    def run(self, options: Options, terminal: Terminal) -> Exit:
        chosen = {program["id"]: program for program in selected_programs(options)}
        if not chosen:
            terminal.warn("There are no programs yet. Create one with `program add`.")
        return report(self._results(chosen, options, terminal), options, terminal)

    def _results(
        self, chosen: Mapping[int, ProgramStatus], options: Options, terminal: Terminal
    ) -> Iterator[Result]:
        programs = Program.objects.select_related("host").in_bulk(chosen)
        refused = services.request_many(programs.values(), self.action, actor=command_actor())
        requests = {}
        for program_id, before in chosen.items():
            refusal = refused.get(program_id, "someone removed it meanwhile")
            outcome = self._refused(before, refusal) if refusal else None
            if outcome:
                yield Result(before, outcome)
            else:
                requests[program_id] = ActionRequest(before, programs[program_id].success_exit_codes)
        yield from results(requests, OUTCOMES[self.action], f"{self.action} requested", options, terminal)

    def _refused(self, before: ProgramStatus, refusal: str) -> ActionOutcome | None:
        """None for a program that is starting anyway."""
        if self.action is Action.START and before["state"] == State.STARTING:
            return None
        text = refusal.removeprefix(f"{before['name']} ").rstrip(".")
        return existing_outcome(self.action, before) or ActionOutcome(False, text)


class Start(ActionCommand):
    action = Action.START


class Stop(ActionCommand):
    action = Action.STOP


class Restart(ActionCommand):
    action = Action.RESTART


class Kill(ActionCommand):
    action = Action.KILL


def results(
    requests: Mapping[int, ActionRequest], check: OutcomeCheck, text: str, options: Options, terminal: Terminal
) -> Iterator[Result]:
    """Waits for each request; with --no-wait `text` is the outcome, with a warning for each lost agent."""
    if options.wait:
        yield from wait_for_outcomes(requests, check, options.timeout, terminal.warn)
        return
    statuses = [request.before for request in requests.values()]
    for host in sorted({program["host"] or "" for program in statuses if program["state"] == State.UNKNOWN}):
        terminal.warn(agent_lost_text(host))
    for program in statuses:
        yield Result(program, ActionOutcome(True, text))


def report(found: Iterable[Result], options: Options, terminal: Terminal) -> Exit:
    """Prints each result as it comes, or all of them as JSON at the end. FAILED when one was not reached."""
    printed = []
    for result in found:
        printed.append(result)
        if not options.json:
            terminal.say(f"{result.program['name']}: {result.outcome.text}")
    if options.json:
        terminal.json([_as_json(result) for result in printed])
    return Exit.DONE if all(result.outcome.is_reached for result in printed) else Exit.FAILED


def _as_json(result: Result) -> dict[str, object]:
    program, outcome = result
    return {
        "id": program["id"],
        "name": program["name"],
        "done": outcome.is_reached,
        "detail": outcome.text,
        "status": program,
    }
