from __future__ import annotations

import platform

import pytest
from django.conf import settings
from django.utils import timezone

from programs.hosts import this_host
from programs.models import Host
from programs.supervisor.heartbeat import HostHeartbeat, Kind, save

pytestmark = pytest.mark.django_db


def test_the_first_heartbeat_of_an_agent_records_its_version_and_platform() -> None:
    host = this_host()
    Host.objects.update(version="0.0.1", platform="an older kernel")
    save(host.pk, HostHeartbeat(timezone.now(), Kind.NEXT), {})
    host.refresh_from_db()
    assert host.version == "0.0.1"
    save(host.pk, HostHeartbeat(timezone.now(), Kind.FIRST), {})
    host.refresh_from_db()
    assert (host.version, host.platform) == (settings.VERSION, platform.platform()[:120])
