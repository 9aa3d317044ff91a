from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from core.access import Role
from programs import services, status
from programs.definition.conversion import definition_json
from programs.definition.environment import environment_of
from programs.definition.fields import FIELDS
from programs.definition.schemas import DefinitionIn
from programs.models import Program, ProgramEvent, ProgramRevision

from .api_rig import Api, define, host, running, write

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> Api:
    return Api()


def fields_of(body: Any) -> list[str]:
    return [error["field"] for error in body["errors"]]


def test_two_fields_are_enough_and_the_rest_has_its_defaults(api: Api) -> None:
    answer = api.send("POST", "/programs", {"name": "web", "command": "sleep 60"})
    program = Program.objects.get()
    assert answer.status_code == 201
    assert answer["Location"] == f"/api/programs/{program.pk}"
    shown = api.get(f"/programs/{program.pk}")
    assert shown == answer.json()
    assert {name: shown[name] for name in FIELDS} == definition_json(program)
    assert (shown["id"], shown["desired_state"], shown["instances"]) == (
        program.pk,
        "running",
        {"running": 0, "desired": 1},
    )


def test_the_defaults_of_the_api_are_those_of_the_model(api: Api) -> None:
    program = define("by model")
    by_schema = DefinitionIn(name="by model", command="sleep 60").model_dump()
    assert definition_json(program) == by_schema


def test_the_actor_is_recorded(api: Api) -> None:
    api("POST", "/programs", {"name": "web", "command": "sleep 60"})
    event = ProgramEvent.objects.get(type="program.created")
    assert event.actor.endswith("(token test)")
    assert ProgramRevision.objects.get().actor == event.actor


def test_every_field_can_be_set_and_is_returned(api: Api) -> None:
    host("testhost")
    define("db")
    given = {
        "name": "all", "command": "echo {instance+8100}", "shell": True, "description": "d", "tags": ["a"],
        "host": "testhost", "working_directory": "/tmp", "environment": [{"name": "MODE", "value": "prod"}],
        "stdin": "console", "user": "", "umask": "022", "nice": 5, "max_open_files": 64, "max_memory_bytes": 10**9,
        "autostart": False, "restart_policy": "always", "success_exit_codes": [0, 3], "start_seconds": 2,
        "backoff_initial": 2, "backoff_factor": 3, "backoff_max": 30, "backoff_jitter": 0.1, "stable_seconds": 60,
        "max_restarts": 3, "restart_window": 60, "restart_cron": "0 4 * * *",
        "stop_ladder": [{"step": "stdin:stop", "seconds": 5}], "instances_min": 1, "instances_max": 4,
        "scale_cpu_percent": 70, "depends_on": [{"program": "db", "condition": "healthy"}],
        "probes": [
            {"kind": "tcp", "target": "db:80", "purpose": "readiness", "period": 5, "timeout": 2, "failures": 1}
        ],
        "log_max_bytes": 10**6, "log_backups": 2, "log_compress": False,
    }  # fmt: skip
    status, shown = api("POST", "/programs", given)
    assert status == 201, shown
    assert {name: shown[name] for name in given} == given


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "\x00"}, "name"),
        ({"name": 5}, "name"),
        ({"command": "echo 'open"}, "command"),
        ({"command": None}, "command"),
        ({"autostart": "yes"}, "autostart"),
        ({"nice": 99}, "nice"),
        ({"nice": "1"}, "nice"),
        ({"nice": 1.5}, "nice"),
        ({"max_restarts": -1}, "max_restarts"),
        ({"max_open_files": 2**63}, "max_open_files"),
        ({"max_open_files": 10**40}, "max_open_files"),
        ({"description": "\x00"}, "description"),
        ({"restart_policy": "sometimes"}, "restart_policy"),
        ({"stop_ladder": [{"step": "signal:TERM"}]}, "stop_ladder.0.seconds"),
        ({"stop_ladder": [{"step": "signal:NIX", "seconds": 1}]}, "stop_ladder"),
        ({"stop_ladder": [{"step": "signal:²", "seconds": 1}]}, "stop_ladder"),
        ({"stop_ladder": [{"step": "http:http://[", "seconds": 1}]}, "stop_ladder"),
        ({"probes": [{"kind": "http", "target": "http://[::1/"}]}, "probes"),
        ({"environment": [{"name": "A", "value": "1", "extra": 1}]}, "environment.0.extra"),
        ({"environment": [{"name": "A", "value": {"set": True}, "secret": True}]}, "environment"),
        ({"depends_on": [{"program": "nobody"}]}, "depends_on"),
        ({"host": "nowhere"}, "host"),
        ({"instances_min": 3, "instances_max": 2}, ""),
        ({"working_directory": "/no/such/folder"}, "working_directory"),
        ({"id": 5}, "id"),
        ({"desired_state": "running"}, "desired_state"),
        ({"is_superuser": True}, "is_superuser"),
    ],
)
def test_an_invalid_value_is_refused_at_its_field(api: Api, change: dict[str, Any], field: str) -> None:
    status, body = api("POST", "/programs", {"name": "web", "command": "sleep 60", **change})
    assert status == 422, body
    assert any(found == field or found.startswith(f"{field}.") for found in fields_of(body)), body
    assert not Program.objects.exists()


def test_all_errors_are_reported_at_once(api: Api) -> None:
    _, body = api("POST", "/programs", {"command": 5, "autostart": "yes", "nix": 1})
    assert set(fields_of(body)) == {"name", "command", "autostart", "nix"}


def test_a_name_is_unique(api: Api) -> None:
    define("web")
    status, body = api("POST", "/programs", {"name": "web", "command": "sleep 60"})
    assert status == 422
    assert body["errors"][0]["message"] == "There is already a program with this name."


def test_secret_values_are_never_returned(api: Api) -> None:
    secret = {"name": "TOKEN", "value": "hunter2-hunter2", "secret": True}
    answer = api.send("POST", "/programs", {"name": "web", "command": "sleep 60", "environment": [secret]})
    program = Program.objects.get()
    texts = [
        answer.content,
        *(
            api.send("GET", path).content
            for path in ("/programs", f"/programs/{program.pk}", "/events", "/status")
        ),
    ]
    assert not any(b"hunter2" in text for text in texts)
    assert answer.json()["environment"] == [{"name": "TOKEN", "value": {"set": True}, "secret": True}]
    assert environment_of(program) == {"TOKEN": "hunter2-hunter2"}


def test_the_old_value_of_a_variable_that_becomes_secret_is_masked_in_the_event(api: Api) -> None:
    plain = {"name": "TOKEN", "value": "hunter2-hunter2"}
    program = define(environment=[plain, {"name": "MODE", "value": "prod"}])
    api("PATCH", f"/programs/{program.pk}", {"environment": [{**plain, "secret": True}]})
    change = ProgramRevision.objects.get(number=2).changes
    before, after = change["environment"]
    assert before == [{"name": "TOKEN", "value": {"set": True}}, {"name": "MODE", "value": "prod"}]
    assert after == [{"name": "TOKEN", "value": {"set": True}, "secret": True}]
    assert ProgramEvent.objects.get(type="program.updated").data == {"changes": change}


def test_a_definition_can_be_sent_back_and_keeps_its_secrets(api: Api) -> None:
    secret = {"name": "TOKEN", "value": "hunter2-hunter2", "secret": True}
    program = define(environment=[secret], tags=["a"])
    shown = api.get(f"/programs/{program.pk}")
    status, body = api("PUT", f"/programs/{program.pk}", {name: shown[name] for name in FIELDS})
    assert (status, body["applies"]) == (200, {})
    program.refresh_from_db()
    assert environment_of(program) == {"TOKEN": "hunter2-hunter2"}


def test_a_change_says_when_each_field_applies(api: Api) -> None:
    program = define()
    status, body = api("PATCH", f"/programs/{program.pk}", {"command": "sleep 61", "tags": ["x"], "nice": None})
    assert (status, body["applies"]) == (200, {"command": "restart", "tags": "live"})
    assert (body["command"], body["tags"]) == ("sleep 61", ["x"])


def test_a_change_leaves_other_fields_alone_and_a_replacement_does_not(api: Api) -> None:
    program = define(description="mine", tags=["a"])
    _, patched = api("PATCH", f"/programs/{program.pk}", {"tags": ["b"]})
    assert patched["description"] == "mine"
    _, replaced = api("PUT", f"/programs/{program.pk}", {"name": "web", "command": "sleep 60"})
    assert (replaced["description"], replaced["tags"]) == ("", [])
    assert set(replaced["applies"]) == {"description", "tags"}


@pytest.mark.parametrize(
    ("method", "body"), [("PATCH", {"nice": 100}), ("PUT", {"name": "web"}), ("PATCH", {"x": 1})]
)
def test_an_invalid_change_changes_nothing(api: Api, method: str, body: dict[str, Any]) -> None:
    program = define()
    before = definition_json(program)
    assert api(method, f"/programs/{program.pk}", body)[0] == 422
    assert definition_json(Program.objects.get()) == before


def test_a_dry_run_validates_and_saves_nothing(api: Api) -> None:
    program = define()
    status, body = api("PATCH", f"/programs/{program.pk}?dry_run=true", {"command": "sleep 9"})
    assert (status, body["applies"], body["command"]) == (200, {"command": "restart"}, "sleep 9")
    status, body = api("POST", "/programs?dry_run=true", {"name": "new", "command": "x"})
    assert (status, body["id"], body["name"]) == (200, None, "new")
    assert api("POST", "/programs?dry_run=true", {"name": "web", "command": "x"})[0] == 422
    assert [found.command for found in Program.objects.all()] == ["sleep 60"]


def test_a_removed_program_is_in_no_list(api: Api) -> None:
    program = define()
    assert api("DELETE", f"/programs/{program.pk}") == (204, None)
    assert api.get("/programs")["items"] == []
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/start"), ("GET", "/logs"), ("GET", "/events")):
        assert api(method, f"/programs/{program.pk}{path}")[0] == 404


def test_a_program_with_dependents_cannot_be_removed(api: Api) -> None:
    db = define("db")
    define("web", depends_on=[{"program": "db"}])
    status, body = api("DELETE", f"/programs/{db.pk}")
    assert (status, body["detail"]) == (409, "db is needed by web.")
    assert Program.objects.count() == 2


@pytest.mark.parametrize("path", ["/programs/99", f"/programs/{2**63}", f"/programs/{10**30}", "/programs/x"])
def test_an_unknown_program_is_404(api: Api, path: str) -> None:
    status, body = api("GET", path)
    assert (status, body["title"]) == (404, "Not Found")


# --- The list -------------------------------------------------------------------------------------------


def test_lists_are_paged_and_sorted_by_name(api: Api) -> None:
    for name in "edcba":
        define(name)
    found = api.get("/programs?page=2&per_page=2")
    assert [item["name"] for item in found.pop("items")] == ["c", "d"]
    assert found == {"count": 5, "page": 2, "per_page": 2}
    assert api.get("/programs?page=9")["items"] == []


def test_a_list_can_be_searched_and_filtered(api: Api) -> None:
    host()
    running(define("web", tags=["front"], description="the Shop"))
    write(define("db", command="postgres -D /data"), state="fatal")
    host("far", is_default=False)
    define("worker", host="far", autostart=False)
    names = {
        query: [item["name"] for item in api.get(f"/programs?{query}")["items"]]
        for query in ("search=SHOP", "search=postgres", "tag=front", "state=running", "state=fatal", "host=far")
    }
    assert names == {
        "search=SHOP": ["web"], "search=postgres": ["db"], "tag=front": ["web"], "state=running": ["web"],
        "state=fatal": ["db"], "host=far": ["worker"],
    }  # fmt: skip
    assert api.get("/programs?state=running&tag=nix")["count"] == 0


def test_a_list_can_be_sorted_by_live_values(api: Api) -> None:
    host()
    for name, cpu in (("a", 5.0), ("b", 50.0), ("c", 20.0)):
        running(define(name), cpu_percent=cpu)
    names = [item["name"] for item in api.get("/programs?ordering=-cpu_percent,name")["items"]]
    assert names == ["b", "c", "a"]


def test_only_the_selected_fields_are_returned(api: Api) -> None:
    host()
    program = define()
    found = api.get("/programs?fields=id,name,state")
    assert found["items"] == [{"id": program.pk, "name": "web", "state": "stopped"}]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("per_page=201", "per_page"),
        ("per_page=0", "per_page"),
        ("page=0", "page"),
        ("page=x", "page"),
        ("ordering=removed_at", "ordering"),
        ("ordering=host__heartbeat_at", "ordering"),
        ("fields=environment__value", "fields"),
        ("state=asleep", "state"),
        ("search=%00", "search"),
        ("name__startswith=w", "name__startswith"),
        ("dry_run=true", "dry_run"),
    ],
)
def test_an_unknown_list_parameter_is_refused(api: Api, query: str, field: str) -> None:
    status, body = api("GET", f"/programs?{query}")
    assert (status, fields_of(body)) == (422, [field])


def test_a_list_costs_the_same_queries_however_long(django_assert_max_num_queries: Any) -> None:
    host()
    api = Api(Role.READ)
    db = define("db")
    for number in range(40):
        running(define(f"p{number}", depends_on=[{"program": "db"}]))
    api.get("/status")
    # Who asks, hosts and revision, programs with processes, definitions, dependencies, what they need.
    with django_assert_max_num_queries(6):
        assert len(api.get("/programs?per_page=200")["items"]) == 41
    with django_assert_max_num_queries(7):
        api.get(f"/programs/{db.pk}")


def test_the_cost_of_a_page_depends_on_its_size_only(
    django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    host()
    api = Api(Role.READ)
    for number in range(30):
        running(define(f"p{number:02}", tags=["odd"] if number % 2 else []))
    api.get("/status")
    monkeypatch.setattr(status, "all_programs", None)  # would put together all thirty
    for query, names in (
        ("per_page=3", ["p00", "p01", "p02"]),
        ("per_page=3&page=10&ordering=-name", ["p02", "p01", "p00"]),
        ("per_page=3&tag=odd&page=2&host=testhost", ["p07", "p09", "p11"]),
        ("per_page=3&search=P1&ordering=-id", ["p19", "p18", "p17"]),
    ):
        # Who asks, hosts and revision, how many, the page, what they need, what they do.
        with django_assert_num_queries(6):
            assert [item["name"] for item in api.get(f"/programs?{query}")["items"]] == names


def test_a_tag_is_matched_exactly(api: Api) -> None:
    for name, tags in (("one", ["Größe", "web"]), ("two", ["webs"]), ("three", ["WEB"]), ("four", [])):
        define(name, tags=tags)
    for tag, names in (("web", ["one"]), ("Größe", ["one"]), ("we", []), ("%", []), ('"', []), ("webs", ["two"])):
        assert [item["name"] for item in api.get(f"/programs?{urlencode({'tag': tag})}")["items"]] == names


@pytest.mark.parametrize(("query", "reading"), [("", "programs_by_id"), ("?ordering=state", "all_programs")])
def test_a_program_removed_while_the_list_is_read_is_left_out(
    api: Api, monkeypatch: pytest.MonkeyPatch, query: str, reading: str
) -> None:
    program, read = define(), getattr(status, reading)

    def meanwhile(*args: Any) -> Any:
        found = read(*args) if reading == "all_programs" else []
        services.remove(program, actor="x")
        return found or read(*args)

    monkeypatch.setattr(status, reading, meanwhile)
    assert api.get(f"/programs{query}")["items"] == []
