from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import environments
from bench.waiting import BenchError


@pytest.fixture(autouse=True)
def peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(environments, "PEERS", tmp_path / "peers")
    return tmp_path / "peers"


def script(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_an_environment_is_made_once(peers: Path) -> None:
    grow = [script(f"open({str(peers / 'count')!r}, 'a').write('x')")]

    environments.make_once(peers / "one", ["peer==1"], grow)
    environments.make_once(peers / "one", ["peer==1"], grow)

    assert (peers / "count").read_text() == "x"


def test_another_version_is_installed_afresh(peers: Path) -> None:
    environments.make_once(peers / "one", ["peer==1"], [])
    (peers / "one" / "old").touch()

    environments.make_once(peers / "one", ["peer==2"], [])

    assert not (peers / "one" / "old").exists()


def test_a_failed_install_says_the_last_line_and_is_tried_again(peers: Path) -> None:
    failing = [script("import sys; sys.exit('no such version')")]

    for _ in range(2):
        with pytest.raises(BenchError, match=r"failed \(1\): no such version"):
            environments.make_once(peers / "one", ["peer==1"], failing)


def test_a_missing_installer_is_named(peers: Path) -> None:
    with pytest.raises(BenchError, match="no-such-npm is not installed"):
        environments.make_once(peers / "one", ["peer==1"], [["no-such-npm", "install"]])
