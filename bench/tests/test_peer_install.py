from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import peer_install
from bench.waiting import BenchError


@pytest.fixture(autouse=True)
def peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(peer_install, "PEERS", tmp_path / "peers")
    return tmp_path / "peers"


def script(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_an_environment_is_installed_once(peers: Path) -> None:
    grow = [script(f"open({str(peers / 'count')!r}, 'a').write('x')")]

    peer_install.install_once(peers / "one", ["peer==1"], grow)
    peer_install.install_once(peers / "one", ["peer==1"], grow)

    assert (peers / "count").read_text() == "x"


def test_another_version_is_installed_from_scratch(peers: Path) -> None:
    peer_install.install_once(peers / "one", ["peer==1"], [])
    (peers / "one" / "old").touch()

    peer_install.install_once(peers / "one", ["peer==2"], [])

    assert not (peers / "one" / "old").exists()


def test_a_failed_install_reports_the_last_line_and_is_retried(peers: Path) -> None:
    failing = [script("import sys; sys.exit('no such version')")]

    for _ in range(2):
        with pytest.raises(BenchError, match=r"failed \(1\): no such version"):
            peer_install.install_once(peers / "one", ["peer==1"], failing)


def test_a_missing_installer_is_named(peers: Path) -> None:
    with pytest.raises(BenchError, match="no-such-npm is not installed"):
        peer_install.install_once(peers / "one", ["peer==1"], [["no-such-npm", "install"]])
