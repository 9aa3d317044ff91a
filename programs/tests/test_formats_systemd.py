"""systemd units: equivalent definitions."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from programs.formats import FormatError, Imported, NoFiles, read, read_all
from programs.formats.systemd_units import seconds, size, split_words

from .samples import definition, mentions, notes, read_samples


@pytest.fixture(scope="module")
def sample() -> Imported:
    return read_samples("web.service", "cache.service")


def service(*lines: str, start: str = "/bin/a", name: str = "a.service") -> Imported:
    return read("\n".join(["[Service]", f"ExecStart={start}", *lines]), filename=f"/etc/systemd/system/{name}")


def only(*lines: str, start: str = "/bin/a", name: str = "a.service") -> dict[str, Any]:
    return service(*lines, start=start, name=name).definitions[0]


def test_a_unit_is_one_definition(sample: Imported) -> None:
    assert definition(sample, "web") == {
        "name": "web",
        "command": 'exec /srv/shop/bin/front --listen "${HOST}:8080" --title \'Shop & "Co"\' '
        "--price '$5' $FRONT_FLAGS",
        "shell": True,
        "description": "Shop front end (web.service)",
        "working_directory": "/srv/shop",
        "environment": [
            {"name": "MOTD", "value": "Hello, World"},
            {"name": "STAGE", "value": "prod"},
            {"name": "HOST", "value": "127.0.0.1"},
        ],
        "user": "shop",
        "umask": "0027",
        "nice": -5,
        "max_open_files": 65536,
        "max_memory_bytes": 1024**3,
        "success_exit_codes": [0, 143, 75],
        "backoff_initial": 3,
        "backoff_factor": 1,
        "max_restarts": 5,
        "restart_window": 120,
        "stop_ladder": [{"step": "signal:QUIT", "seconds": 90}, {"step": "signal:INT", "seconds": 90}],
        "depends_on": [{"program": "cache", "condition": "started"}],
    }


def test_a_growing_delay_becomes_a_backoff(sample: Imported) -> None:
    cache = definition(sample, "cache")
    assert cache["restart_policy"] == "always"
    assert (cache["backoff_initial"], cache["backoff_factor"], cache["backoff_max"]) == (0.1, 2.512, 10)
    assert cache["stop_ladder"] == [{"step": "signal:TERM", "seconds": 3600}]


def test_every_dropped_key_has_a_note(sample: Imported) -> None:
    for words in (
        "EnvironmentFile=/srv/shop/none.env: not imported, there is no such file",
        "Group=shop", "MemoryMax:", "SuccessExitStatus=SIGUSR1", "Type=notify", "Documentation=", "ExecStartPre=",
        "ExecReload=", "ProtectSystem=strict: not imported, the program runs without this protection",
        "NoNewPrivileges=yes", "After=network-online.target", "Wants=network-online.target",
    ):  # fmt: skip
        assert mentions(sample, "web", words), words
    assert notes(sample, "cache") == ["TimeoutStopSec=infinity: stopping waits one hour at most"]


def test_the_shell_passes_the_same_words_as_systemd(tmp_path: Path) -> None:
    start = r"""printf '<%%s>' ${HOST}:1 "a b" $LIST 'x${HOST}' $$HOST "q\"d\\e" \x41 c;d `e` *"""
    command = only("Environment=HOST=h LIST='1 2'", start=start)["command"]
    script = f"HOST=h; LIST='1 2'; {command}"
    printed = subprocess.run(["/bin/sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert printed.stdout == r'<h:1><a b><1><2><xh><$HOST><q"d\e><A><c;d><`e`><*>'


@pytest.mark.parametrize(
    ("start", "command", "note"),
    [
        ("-/bin/a b", "/bin/a b", "ExecStart=-…"),
        ("@/bin/a name b", "/bin/a b", "ExecStart=@…"),
        ("+/bin/a", "/bin/a", "ExecStart=+…"),
        ("!!/bin/a", "/bin/a", "ExecStart=!…"),
        (":/bin/a ${B} $$C", "/bin/a '${B}' '$$C'", ""),
    ],
)
def test_prefixes_of_a_command_are_removed(start: str, command: str, note: str) -> None:
    imported = service(start=start)
    assert imported.definitions[0]["command"] == command
    assert mentions(imported, "a", note) if note else not imported.notes


def test_several_commands_of_a_oneshot_run_in_sequence() -> None:
    found = only("Type=oneshot", "ExecStart=/bin/b 'x y'", start="/bin/a ; /bin/c")
    assert (found["command"], found["shell"]) == ("/bin/a && /bin/c && /bin/b 'x y'", True)
    assert (found["restart_policy"], found["start_seconds"]) == ("never", 0)


def test_the_default_is_no_restart() -> None:
    assert only()["restart_policy"] == "never"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("RestartSec=10min", {"backoff_initial": 600, "backoff_factor": 1, "backoff_max": 600}),
        ("StartLimitInterval=0", {"max_restarts": 0}),
        ("UMask=7", {"umask": "007"}),
        ("LimitNOFILE=4K:8K", {"max_open_files": 4096}),
        ("WorkingDirectory=-/srv", {"working_directory": "/srv"}),
        ("TimeoutSec=5", {"stop_ladder": [{"step": "signal:TERM", "seconds": 5}]}),
        ("KillSignal=SIGINT", {"stop_ladder": [{"step": "signal:INT", "seconds": 10}]}),
        ("SuccessExitStatus=", {}),
        ("SuccessExitStatus=1 2\nSuccessExitStatus=3", {"success_exit_codes": [0, 1, 2, 3]}),
        ("Environment=A=1\nEnvironment=\nEnvironment=B=%%2", {"environment": [{"name": "B", "value": "%2"}]}),
        ("Nice=3\nNice=4", {"nice": 4}),
    ],
)
def test_a_key_is_carried_over(line: str, expected: dict[str, Any]) -> None:
    assert only(line) == {**only(), **expected}


@pytest.mark.parametrize(
    "line",
    [
        "MemoryMax=50%",
        "MemoryMax=infinity",
        "LimitNOFILE=infinity",
        "WorkingDirectory=~",
        "WorkingDirectory=%h/x",
        "Restart=on-watchdog",
        "Type=forking",
        "KillMode=process",
        "SendSIGKILL=no",
        "StandardInput=socket",
        "StandardOutput=file:/var/log/x",
        "RestartMaxDelaySec=5",
        "Environment=novalue",
        "Environment=1BAD=x",
        "ExecStop=/bin/stop ${MAINPID}",
        "PIDFile=/run/a.pid",
        "WatchdogSec=5",
        "StartLimitInterval=infinity",
    ],
)
def test_keys_without_equivalent_are_noted(line: str) -> None:
    assert mentions(service(line), "a", line.partition("=")[0]) or mentions(service(line), "a", "variable '1BAD'")


def test_an_environment_file_overrides_and_is_noted(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=file\nB='x y'\n")
    imported = service(f"EnvironmentFile={tmp_path}/*.env", "Environment=A=unit C=3")
    assert imported.definitions[0]["environment"] == [
        {"name": "A", "value": "file"},
        {"name": "C", "value": "3"},
        {"name": "B", "value": "x y"},
    ]
    assert mentions(imported, "a", "later changes have no effect")


def test_an_upload_reads_no_file_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=1\n")
    text = f"[Service]\nExecStart=/bin/a\nEnvironmentFile={tmp_path}/a.env"
    imported = read(text, filename="a.service", files=NoFiles())
    assert "environment" not in imported.definitions[0]
    assert mentions(imported, "a", "other files are not read here")


def test_a_template_becomes_instances() -> None:
    imported = read_samples("minecraft@.service")
    found = definition(imported, "minecraft")
    assert found["command"] == "/usr/bin/java -Xmx2G -jar server.jar --port '2556{instance}' nogui"
    assert found["stop_ladder"][0] == {"step": "command:/usr/bin/mcrcon -p secret stop", "seconds": 10}
    assert "working_directory" not in found
    assert mentions(imported, "minecraft", "a template: %i became {instance}")


def test_an_instance_of_a_template_keeps_its_name() -> None:
    found = only("WorkingDirectory=/srv/%i", start="/bin/a %i %p %N %n %%", name="web@8001.service")
    assert found["name"] == "web@8001"
    assert found["command"] == "/bin/a 8001 web web@8001 web@8001.service %"
    assert found["working_directory"] == "/srv/8001"


def test_an_unknown_specifier_is_noted() -> None:
    imported = service(start="/bin/a %H %t")
    assert imported.definitions[0]["command"] == "/bin/a %H %t"
    assert mentions(imported, "a", "%H:")
    assert mentions(imported, "a", "%t:")


def test_the_output_of_systemctl_cat_is_several_units_with_their_drop_ins() -> None:
    text = (
        "# /lib/systemd/system/a.service\n[Unit]\nRequires=b.service\n[Service]\nExecStart=/bin/a\nNice=1\n\n"
        "# /etc/systemd/system/a.service.d/override.conf\n[Service]\nExecStart=\nExecStart=/bin/a2\n\n"
        "# /lib/systemd/system/b.service\n[Service]\nExecStart=/bin/b\n"
    )
    imported = read(text, filename="units.txt")
    assert [found["name"] for found in imported.definitions] == ["a", "b"]
    assert definition(imported, "a")["command"] == "/bin/a2"
    assert definition(imported, "a")["nice"] == 1
    assert definition(imported, "a")["depends_on"] == [{"program": "b", "condition": "started"}]


def test_order_wins_over_a_circular_requirement() -> None:
    wants = "[Unit]\nWants=b.service\n[Service]\nExecStart=/bin/a"
    after = "[Unit]\nAfter=a.service\n[Service]\nExecStart=/bin/b"
    imported = read_all([("a.service", wants), ("b.service", after)])
    assert "depends_on" not in definition(imported, "a")
    assert definition(imported, "b")["depends_on"] == [{"program": "a", "condition": "started"}]
    assert mentions(imported, "a", "Wants=b.service: not imported, it would make the dependencies circular")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("RestartSec=soon", "'soon' is not a time"),
        ("Nice=99", "is not a number from -20 to 19"),
        ("UMask=rwx", "octal"),
        ("LimitNOFILE=many", "is not a size"),
        ("Restart=maybe", "is not one of"),
        ("Environment='x", "unclosed quote"),
        ("SuccessExitStatus=999", "is not a number"),
        ("rubbish", "expected [Section] or Key=value"),
    ],
)
def test_an_invalid_value_is_refused_with_its_line(line: str, words: str) -> None:
    with pytest.raises(FormatError, match=r"a.service, line 4: ") as refused:
        service("# a comment", line)
    assert words in refused.value.message


@pytest.mark.parametrize("text", ["[Unit]\nDescription=x", "[Service]\nType=simple", "[Timer]\nOnCalendar=daily"])
def test_a_unit_without_exec_start_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="has no ExecStart"):
        read(text, filename="a.service")


def test_a_unit_without_a_name_is_refused() -> None:
    with pytest.raises(FormatError, match="name"):
        read("[Service]\nExecStart=/bin/a", filename="")


def test_times_and_sizes_are_parsed_like_in_systemd() -> None:
    assert [seconds(text) for text in ("90", "1min 30s", "1.5h", "500ms", "2d4h", "infinity")] == [
        90, 90, 5400, 0.5, 187_200, None,
    ]  # fmt: skip
    assert [size(text) for text in ("512", "1K", "1.5G", "infinity")] == [512, 1024, 1_610_612_736, None]


def test_words_are_split_like_in_systemd() -> None:
    assert split_words(r"""a "b c"  'd "e"' f\x20g \t h\;i "" """) == ["a", "b c", 'd "e"', "f g", "\t", "h;i", ""]
