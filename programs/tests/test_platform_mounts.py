"""Which paths lead to another machine, found without a look at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs.supervisor.platform.mounts import RemoteMounts, remote_mount_of

TABLE = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
30 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
41 30 0:40 / /srv/the\040nas rw,relatime shared:7 - nfs4 nas:/games rw,vers=4.2
42 30 0:41 / /home/me/drive rw,nosuid - fuse.rclone remote: rw
"""
NAS = "/srv/the nas"


def test_mounts_of_network_file_systems_are_remote(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(TABLE)
    assert RemoteMounts(tmp_path / "mountinfo").now() == {NAS, "/home/me/drive"}


def test_a_system_that_does_not_tell_has_none(tmp_path: Path) -> None:
    assert RemoteMounts(tmp_path / "none").now() == frozenset()


@pytest.mark.parametrize(
    ("path", "mount"),
    [(NAS, NAS), (f"{NAS}/a/b", NAS), (f"{NAS}2/a", None), ("/srv", None), ("/", None), ("/no/such/folder", None)],
)
def test_a_path_leads_where_its_beginning_is_mounted(path: str, mount: str | None) -> None:
    assert remote_mount_of(path, frozenset({NAS})) == mount


def test_links_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    mount = str(tmp_path / "nas")
    (tmp_path / "link").symlink_to("nas/inside")
    (tmp_path / "second").symlink_to(tmp_path / "link")
    (tmp_path / "circle").symlink_to("circle")
    mounts = frozenset({mount})
    assert remote_mount_of(f"{tmp_path}/second/file", mounts) == mount
    assert remote_mount_of(f"{tmp_path}/circle/file", mounts) is None
