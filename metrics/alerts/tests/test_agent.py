"""A real agent evaluates rules for real programs, and is killed in between."""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import pytest

from core.tests.databases import locked_database
from metrics.alerts.models import Alert, AlertRule
from metrics.models import ResourceUsage
from programs.models import ProgramEvent
from programs.states import Action
from programs.tests.actors import PATIENCE, AgentBox, ask, define, wait_event, wait_for, wait_state

from .factories import rule

BURN = f"{sys.executable} -c 'while True: pass'"
KILLS = int(os.environ.get("MONITOR_TEST_SAMPLING_KILLS", "3"))  # 50 for the long run, see CONTRIBUTING


def start(box: AgentBox) -> AgentBox:
    return box.start(RECORD_SECONDS="1")


def open_alerts() -> int:
    return Alert.objects.filter(resolved_at=None).count()


def test_an_alert_fires_and_is_resolved_when_the_program_stops(box: AgentBox) -> None:
    agent = start(box)
    calm = define("calm", "sleep 600")
    # On a loaded machine even starting `sleep` may use much CPU, so the rule comes after that.
    idle = ResourceUsage.objects.filter(program=calm, cpu_ms=0)
    wait_for(lambda: idle.count() > 3, agent)
    # The clear threshold of 0 keeps the alert firing until the stop, however little CPU time the program gets.
    rule("busy", threshold=15.0, clear_threshold=0.0, window_seconds=2, severity="error")
    busy = define("busy", BURN)
    fired = wait_event(busy, "alert.firing")
    assert (fired.severity, fired.data["rule"], fired.data["threshold"]) == ("error", "busy", 15)
    assert fired.data["value"] > 15
    ask(busy, Action.STOP)
    resolved = wait_event(busy, "alert.resolved")
    assert (resolved.data["reason"], resolved.severity) == ("stopped", "info")
    assert Alert.objects.get().resolved_at == resolved.timestamp
    assert not ProgramEvent.objects.filter(program=calm, type="alert.firing").exists()
    assert agent.stop() == 0


def test_an_alert_recovers_when_the_load_ends(box: AgentBox) -> None:
    # Far apart, so that a loaded machine neither misses the alert nor makes it fire twice.
    rule("busy", threshold=5.0, clear_threshold=1.0, window_seconds=2)
    start(box)
    code = "import time\\nwhile time.process_time() < 1.5: pass\\ntime.sleep(600)"
    program = define("busy", f"{sys.executable} -c '{code}'".replace("\\n", "\n"))
    assert wait_event(program, "alert.resolved").data["reason"] == "recovered"
    assert Alert.objects.count() == 1


def test_an_agent_killed_again_and_again_sends_one_event_per_alert(box: AgentBox) -> None:
    rule("busy", threshold=5.0, window_seconds=2)
    program = define("busy", BURN)
    for _ in range(KILLS):
        start(box)
        wait_state(program, "running")
        time.sleep(random.uniform(0.5, 3))  # before, while or after it fires
        box.kill()
    start(box)
    wait_event(program, "alert.firing")
    ask(program, Action.STOP)
    wait_for(lambda: not open_alerts(), box)
    events = list(ProgramEvent.objects.filter(type__startswith="alert.").order_by("seq"))
    assert [event.type for event in events] == ["alert.firing", "alert.resolved"]
    assert Alert.objects.get().reason == "stopped"


@pytest.mark.parametrize(("at", "written"), [(1, 0), (20, 0), (40, 1)])
def test_an_agent_killed_at_any_line_of_firing_sends_one_event(box: AgentBox, at: int, written: int) -> None:
    rule("busy", threshold=5.0, window_seconds=1)
    program = define("busy", BURN)
    die(box, at, "_fire_all")
    assert open_alerts() == written
    start(box)
    wait_event(program, "alert.firing")
    newest = int(time.time())
    wait_for(ResourceUsage.objects.filter(timestamp__gt=newest + 1).exists, box)
    assert [event.type for event in ProgramEvent.objects.filter(type__startswith="alert.")] == ["alert.firing"]
    assert open_alerts() == Alert.objects.count() == 1


@pytest.mark.parametrize(("at", "left"), [(9, 1), (24, 1), (45, 0)])
def test_an_agent_killed_at_any_line_of_resolving_sends_one_event(box: AgentBox, at: int, left: int) -> None:
    rule("busy", threshold=5.0, window_seconds=1)
    program = define("busy", BURN)
    start(box)
    wait_event(program, "alert.firing")
    box.kill()
    AlertRule.objects.get().delete()
    die(box, at, "_resolve")
    assert open_alerts() == left
    start(box)
    wait_event(program, "alert.resolved")
    assert ProgramEvent.objects.filter(type__startswith="alert.").count() == 2
    assert Alert.objects.get().reason == "rule_removed"


def die(box: AgentBox, at: int, within: str) -> None:
    box.start_dying(at, within, DIE_UNDER="metrics/alerts", RECORD_SECONDS="1")
    assert box.process is not None
    assert box.process.wait(timeout=PATIENCE) == -signal.SIGKILL


def test_a_rule_removed_while_the_agent_is_down_resolves_its_alert(box: AgentBox) -> None:
    rule("busy", threshold=5.0, window_seconds=2)
    start(box)
    program = define("busy", BURN)
    wait_event(program, "alert.firing")
    box.kill()
    AlertRule.objects.get().delete()
    start(box)
    assert wait_event(program, "alert.resolved").data["reason"] == "rule_removed"


def test_a_busy_database_does_not_resolve_an_alert(box: AgentBox) -> None:
    rule("busy", threshold=5.0, window_seconds=2)
    agent = start(box)
    program = define("busy", BURN)
    wait_event(program, "alert.firing")
    with locked_database():
        time.sleep(5)  # longer than the points that count as a stop
    resumed_at = time.time()
    wait_for(ResourceUsage.objects.filter(timestamp__gt=resumed_at + 2).exists, agent)
    assert [event.type for event in ProgramEvent.objects.filter(type__startswith="alert.")] == ["alert.firing"]
    assert open_alerts() == 1
