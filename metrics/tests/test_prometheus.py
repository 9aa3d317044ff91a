"""The exposition: what Prometheus reads, who may, and that its own checker has nothing to say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from core.access import Role
from metrics.alerts.tests.factories import alert, rule
from metrics.models import AgentVitals, ResourceUsage
from metrics.prometheus import Exposition
from metrics.prometheus_programs import CpuSeconds
from metrics.storage.tiers import RAW
from programs import status
from programs.models import Host, Program
from programs.tests.api_rig import Api, define, host, person, running, token, write

from .history import NOON, store_host_usage, store_usage

pytestmark = pytest.mark.django_db


def samples(text: bytes | None = None) -> dict[tuple[str, ...], float]:
    """(name, values of the labels in the order of their names…) → value."""
    families = text_string_to_metric_families((text or Exposition().text()).decode())
    return {
        (sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples
    }


def test_a_running_program_is_up_with_its_usage() -> None:
    host("testhost")
    running(define("web"), cpu_percent=150.0, memory_bytes=4096, threads=3, restarts=2)
    found = samples()
    who = ("testhost", "web")
    assert found["monitor_program_up", *who] == 1
    assert found["monitor_program_cpu_usage_ratio", *who] == 1.5
    assert found["monitor_program_resident_memory_bytes", *who] == 4096
    assert found["monitor_program_restarts_total", *who] == 2
    assert found["monitor_program_uptime_seconds", *who] >= 0


def test_a_program_is_in_exactly_one_state() -> None:
    host("testhost")
    write(define("web"), state="fatal")
    states = {key[-1]: value for key, value in samples().items() if key[0] == "monitor_program_state"}
    assert len(states) == 8
    assert [name for name, value in states.items() if value] == ["fatal"]


def test_a_stopped_program_has_no_uptime() -> None:
    host("testhost")
    define("web", autostart=False)
    found = samples()
    assert found["monitor_program_up", "testhost", "web"] == 0
    assert ("monitor_program_uptime_seconds", "testhost", "web") not in found


def test_what_does_not_run_has_no_usage() -> None:
    host("testhost")
    program = define("web", instances_min=2, instances_max=2)
    running(program, cpu_percent=50, memory_bytes=10, threads=1)
    write(program, index=1, state="exited", cpu_percent=70, memory_bytes=100, threads=9)
    usage = ("cpu_usage_ratio", "resident_memory_bytes", "threads")
    found = samples()
    assert [found[f"monitor_program_{name}", "testhost", "web"] for name in usage] == [0.5, 10, 1]
    write(program, index=0, state="fatal")
    assert not {f"monitor_program_{name}" for name in usage} & {name for name, *_ in samples()}


def test_nothing_stale_is_shown_of_a_host_without_its_agent() -> None:
    gone = host("testhost", is_alive=False)
    store_host_usage(gone, RAW, NOON)
    store_vitals(gone)
    running(define("web"), cpu_percent=50)
    found = samples()
    about = {name for name, *labels in found if "testhost" in labels}
    assert found["monitor_host_last_point_timestamp_seconds", "testhost"] == NOON
    assert found["monitor_agent_up", "testhost"] == 0
    assert not [name for name in about if name.startswith("monitor_host") and "last_point" not in name]
    assert not [name for name in about if name.startswith("monitor_agent") and name != "monitor_agent_up"]
    assert "monitor_program_cpu_usage_ratio" not in about


def store_vitals(one: Host) -> None:
    numbers = {field.name: 0 for field in AgentVitals._meta.fields if field.name not in ("host", "at")}
    AgentVitals.objects.create(host=one, at=timezone.now(), **numbers)


def test_restarts_never_fall_when_instances_go() -> None:
    host("testhost")
    program = define("web", instances_min=2, instances_max=2)
    running(program, restarts=2)
    write(program, index=1, state="running", restarts=5)
    exposition = Exposition()

    def restarts() -> float:
        return samples(exposition.text())["monitor_program_restarts_total", "testhost", "web"]

    assert restarts() == 7
    program.processes.filter(index=1).delete()
    assert restarts() == 7
    write(program, index=1, state="running", restarts=1)
    write(program, index=0, state="running", restarts=0)
    assert restarts() == 8
    write(program, index=0, state="running", restarts=1)
    assert restarts() == 9


def test_ten_thousand_programs_are_a_page_that_a_parser_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    host("testhost")
    running(define("web"), threads=3)
    seen = status.read_host_state()
    [one] = status.all_programs(seen)
    many = [{**one, "id": number, "name": f"p{number}"} for number in range(10_000)]
    monkeypatch.setattr(status, "all_programs", lambda seen: many)
    found = samples()
    assert found["monitor_program_threads", "testhost", "p9999"] == 3
    assert len([name for name, *_ in found if name == "monitor_program_state"]) == 80_000


def test_label_values_are_escaped() -> None:
    host("testhost")
    running(define('a "b"\\c, 한글 {}=1'))
    assert samples()["monitor_program_up", "testhost", 'a "b"\\c, 한글 {}=1'] == 1


def test_a_host_shows_its_newest_point() -> None:
    one = host("testhost")
    store_host_usage(one, RAW, NOON, cpu_percent=90)
    store_host_usage(one, RAW, NOON + 10, cpu_percent=25)
    found = samples()
    assert found["monitor_host_cpu_usage_ratio", "testhost"] == 0.25
    assert found["monitor_host_last_point_timestamp_seconds", "testhost"] == NOON + 10
    assert found["monitor_agent_up", "testhost"] == 1


def test_an_agent_without_heartbeat_is_down_and_its_programs_unknown() -> None:
    host("testhost", is_alive=False)
    running(define("web"))
    found = samples()
    assert found["monitor_agent_up", "testhost"] == 0
    assert found["monitor_program_state", "testhost", "web", "unknown"] == 1


def test_firing_alerts_are_counted_by_severity() -> None:
    web = define("web")
    for number, severity in enumerate(["error", "error", "warning"]):
        lasting = rule(f"r{number}", severity=severity)
        alert(lasting, web)
        alert(lasting, web, age=600, lasted=60)
    found = samples()
    counts = {key[1]: value for key, value in found.items() if key[0] == "monitor_alerts_firing"}
    assert counts == {"info": 0, "warning": 1, "error": 2}


# --- CPU seconds ----------------------------------------------------------------------------------------


def test_cpu_seconds_only_grow_and_count_each_point_once() -> None:
    program, now = define(), int(time.time())
    counter = CpuSeconds()
    assert counter.totals(now) == {}
    point = store_usage(RAW, program, now, cpu_ms=1000)
    assert counter.totals(now) == counter.totals(now) == {program.pk: 1.0}
    ResourceUsage.objects.filter(timestamp=point.timestamp).update(cpu_ms=1500)  # more samples of the same point
    assert counter.totals(now) == {program.pk: 1.5}
    store_usage(RAW, program, now + 10, cpu_ms=500)
    ResourceUsage.objects.filter(timestamp=now).delete()
    assert counter.totals(now + 10) == {program.pk: 2.0}


def test_cpu_seconds_start_at_zero_with_the_process() -> None:
    program, now = define(), int(time.time())
    store_usage(RAW, program, now - 3600, cpu_ms=99_000)
    assert CpuSeconds().totals(now) == {}


def test_cpu_seconds_keep_only_the_latest_points() -> None:
    program, now = define(), int(time.time())
    counter = CpuSeconds()
    for number in range(100):
        store_usage(RAW, program, now + 10 * number, cpu_ms=10)
    assert counter.totals(now + 1000)[program.pk] == pytest.approx(1.0)
    assert len(counter._seen) < 20


# --- The page -------------------------------------------------------------------------------------------


def test_local_requests_need_no_token() -> None:
    answer = Client().get("/metrics")
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")


@pytest.mark.parametrize(
    "headers",
    [{"REMOTE_ADDR": "192.0.2.7"}, {"HTTP_X_FORWARDED_FOR": "192.0.2.7"}, {"HTTP_FORWARDED": "for=192.0.2.7"}],
)
def test_remote_requests_need_a_token(headers: dict[str, str]) -> None:
    assert Client().get("/metrics", **headers).status_code == 401  # type: ignore[arg-type]  # WSGI's environment
    key = token(Role.READ)
    assert Client().get("/metrics", HTTP_AUTHORIZATION=f"Bearer {key}", **headers).status_code == 200  # type: ignore[arg-type]


def test_a_wrong_token_is_refused_even_locally() -> None:
    assert Client().get("/metrics", HTTP_AUTHORIZATION="Bearer pm_wrong").status_code == 401


def test_a_session_without_a_role_is_refused() -> None:
    client = Client()
    client.force_login(person(None))
    assert client.get("/metrics").status_code == 403


def test_only_get_is_allowed() -> None:
    assert Client().post("/metrics").status_code == 405


def test_requests_are_counted_by_the_pattern_of_their_route() -> None:
    api = Api(Role.READ)
    for number in range(3):
        api("GET", f"/programs/{number + 1000}")
    api("GET", "/no/such/place")
    found = samples(Client().get("/metrics").content)
    counts = {key[1:4]: value for key, value in found.items() if key[0].endswith("duration_seconds_count")}
    assert counts["GET", "api/programs/<int:program_id>", "4xx"] >= 3
    assert not [route for _, route, _ in counts if "1000" in route or "such" in route]


def test_an_unknown_method_makes_no_new_label() -> None:
    Client().generic("BREW", "/metrics")
    assert "BREW" not in Client().get("/metrics").content.decode()


def test_promtool_reports_no_problem() -> None:
    if shutil.which("promtool") is None and "CI" not in os.environ:
        # Without Prometheus installed: at least a parser of the format reads all of it.
        assert samples()
        return
    store_host_usage(host("testhost"), RAW, NOON)
    running(define("web"))
    text = Client().get("/metrics").content
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_grafana_dashboard_uses_existing_metrics() -> None:
    dashboard = json.loads((settings.BASE_DIR / "docs/grafana/program-monitor.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    store_host_usage(host("testhost"), RAW, NOON)
    store_vitals(Host.objects.get())
    running(define("web"))
    Client().get("/metrics")
    there = {name for name, *_ in samples(Client().get("/metrics").content)}
    assert len(asked) > 10
    assert {name for text in asked for name in re.findall(r"monitor_\w+", text)} <= there


def test_a_hundred_programs_need_as_many_queries_as_one(django_assert_num_queries: Any) -> None:
    exposition = Exposition()
    host("testhost")
    running(define("first"))
    exposition.text()
    with django_assert_num_queries(11):
        exposition.text()
    for number in range(10):
        running(define(f"p{number}"))
    assert Program.objects.count() == 11
    with django_assert_num_queries(11):
        exposition.text()
