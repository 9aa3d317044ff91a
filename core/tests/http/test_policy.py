from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from django.core.checks import run_checks

from core.http import Policy, RefusedError, check_headers, check_url, masked_url

LAN = Policy("lan", own_ports=frozenset({8000}), service_ports=frozenset({5432, 6379}))


def refusal(url: str, policy: Policy = LAN) -> str:
    with pytest.raises(RefusedError) as caught:
        check_url(url, policy)
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook?a=b",
        "http://192.168.1.20:8123/api/webhook/x",
        "http://127.0.0.1:9000/",
        "http://localhost/",
        "http://nas.lan:8000/",
        "http://[::1]:9000/",
        "http://[fd12::7]/",
        "http://100.64.3.2/",
        "https://bücher.example/",
    ],
)
def test_lan_allows_the_internet_private_networks_and_this_machine(url: str) -> None:
    check_url(url, LAN)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/api/programs",
        "http://localhost:8000/",
        "http://a.localhost:8000/",
        "http://LOCALHOST.:8000/",
        "http://[::1]:8000/",
        "http://[::ffff:127.0.0.1]:8000/",
        "http://[64:ff9b::7f00:1]:8000/",
        "http://[2002:7f00:1::]:8000/",
        "http://2130706433:8000/",
        "http://0x7f.1:8000/",
        "http://0:8000/",
        "http://192.168.1.20:6379/",
        "http://8.8.8.8:5432/",
    ],
)
def test_the_monitor_itself_is_refused(url: str) -> None:
    refusal(url)


@pytest.mark.parametrize("network", ["lan", "public"])
@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "0xa9fea9fe",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "224.0.0.1",
        "[ff02::1]",
        "0",
    ],
)
def test_metadata_link_local_and_multicast_need_open(network: str, host: str) -> None:
    assert "does not allow it" in refusal(f"http://{host}/", Policy(network))


def test_public_refuses_private_addresses() -> None:
    for host in ("10.0.0.1", "127.0.0.1", "localhost", "[::1]", "[fd12::1]", "100.64.0.1"):
        assert "WEBHOOK_NETWORK=public" in refusal(f"http://{host}/", Policy("public"))
    check_url("https://1.1.1.1/", Policy("public"))


def test_open_allows_everything_but_the_monitor_itself() -> None:
    policy = Policy("open", own_ports=frozenset({8000}))
    check_url("http://169.254.169.254/", policy)
    for host in ("127.0.0.1", "0.0.0.0", "[::]", "127.8.9.1"):
        assert "the monitor itself" in refusal(f"http://{host}:8000/", policy)


def test_addresses_of_network_interfaces_are_the_monitor_too() -> None:
    own = {
        entry.address
        for card in psutil.net_if_addrs().values()
        for entry in card
        if entry.family.name == "AF_INET"
    }
    for address in own:
        with pytest.raises(RefusedError, match="the monitor itself"):
            Policy("open", own_ports=frozenset({8000})).check(address, 8000)


def test_the_monitors_port_is_allowed_on_other_machines() -> None:
    LAN.check("192.168.77.88", 8000)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.com/", "http://"),
        ("file:///etc/passwd", "http://"),
        ("gopher://127.0.0.1:6379/_x", "http://"),
        ("example.com/hook", "http://"),
        ("http://", "http://"),
        ("", "http://"),
        ("http://user:pass@example.com/", "user and password"),
        ("http://a@127.0.0.1/", "user and password"),
        ("http://example.com\\@127.0.0.1/", "backslash"),
        ("http://example.com/a b", "space"),
        ("http://example.com/\r\nX: y", "control"),
        ("http://example.com/\x00", "control"),
        ("http://%31%32%37.0.0.1/", "is not valid"),
        ("http://[fe80::1%25eth0]/", "is not valid"),
        ("http://*/", "is not valid"),
        ("http://example.com:0/", "is not valid"),
        ("http://example.com:99999/", "not a valid URL"),
        ("http://[::1/", "not a valid URL"),
        ("http://example.com/" + "a" * 5000, "longer"),
        ("http://127.1:9000/", "127.0.0.1, not as 127.1"),
    ],
)
def test_an_invalid_url_is_refused_with_a_reason(url: str, why: str) -> None:
    assert why in refusal(url)


def test_the_policy_contains_the_ports_of_the_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    databases = {
        "default": {"ENGINE": "django.db.backends.postgresql", "PORT": ""},
        "replica": {"ENGINE": "django.db.backends.postgresql", "PORT": "6543"},
        "file": {"ENGINE": "django.db.backends.sqlite3"},
    }
    given = {"BIND": "[::]:8123", "REDIS_URL": "redis://cache.lan/0", "DATABASES": databases}
    monkeypatch.setattr("django.conf.settings", SimpleNamespace(WEBHOOK_NETWORK="lan", **given))
    assert Policy.from_settings() == Policy("lan", frozenset({8123}), frozenset({5432, 6543, 6379}))


def test_a_database_on_port_443_does_not_block_the_web(monkeypatch: pytest.MonkeyPatch) -> None:
    databases = {"default": {"ENGINE": "django.db.backends.postgresql", "PORT": "443"}}
    given = {"BIND": "8000", "REDIS_URL": "unix:///run/redis.sock", "DATABASES": databases}
    monkeypatch.setattr("django.conf.settings", SimpleNamespace(WEBHOOK_NETWORK="public", **given))
    assert Policy.from_settings() == Policy("public", frozenset({8000}))


def test_an_unknown_network_fails_the_system_check(settings: Any) -> None:
    settings.WEBHOOK_NETWORK = "intranet"
    [found] = [message for message in run_checks() if message.id == "monitor.E006"]
    assert "lan, public, open" in found.msg


def test_a_policy_with_an_unknown_network_raises_an_error() -> None:
    with pytest.raises(ValueError, match="is not a network"):
        Policy("everywhere")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://discord.com/api/webhooks/1/abc", "https://discord.com/••••••"),
        ("https://example.com:8443/?key=abc", "https://example.com:8443/••••••"),
        ("https://user:pass@example.com/x", "https://example.com/••••••"),
        ("https://example.com/", "https://example.com/"),
        ("https://example.com", "https://example.com"),
        ("http://[::1", "••••••"),
    ],
)
def test_a_masked_url_has_the_host_and_no_secret(url: str, shown: str) -> None:
    assert masked_url(url) == shown


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "b\r\nX-B: c"},
        {"X-A": "b\x00"},
        {"X-A\r\nX-B": "c"},
        {"X A": "b"},
        {"": "b"},
        {"Host": "example.com"},
        {"content-LENGTH": "0"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "close"},
        {"Proxy-Authorization": "x"},
    ],
)
def test_headers_that_only_the_client_sets_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(RefusedError):
        check_headers(headers)


def test_ordinary_headers_are_accepted() -> None:
    check_headers({"Authorization": "Bearer abc", "X-Title": "web crashed\tagain", "webhook-id": "msg_1"})
