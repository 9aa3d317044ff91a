from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from monitor_site.serving import address


@contextmanager
def listener(reply: bytes = b"") -> Iterator[int]:
    """A port that listens and sends `reply` to one connection."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def respond() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(reply)

        if reply:
            threading.Thread(target=respond, daemon=True).start()
        yield server.getsockname()[1]


def test_a_port_in_use_raises_an_error_with_the_name_and_pid_of_its_user() -> None:
    with (
        listener() as port,
        pytest.raises(address.AddressError, match=rf"{port} is in use by .+ \(pid {os.getpid()}\)"),
    ):
        address.choose_port("127.0.0.1", port)


def test_port_zero_chooses_a_free_port() -> None:
    port = address.choose_port("127.0.0.1", 0)
    assert address.choose_port("127.0.0.1", port) == port


def test_an_address_of_another_machine_raises_an_error() -> None:
    with pytest.raises(address.AddressError, match=r"192\.0\.2\.1 is not an address of this machine"):
        address.choose_port("192.0.2.1", 8000)


def test_an_unknown_name_raises_an_error() -> None:
    with pytest.raises(address.AddressError, match=r"Cannot listen on nowhere\.invalid:8000"):
        address.choose_port("nowhere.invalid", 8000)


def test_an_http_response_of_any_status_counts() -> None:
    with listener(b"HTTP/1.1 503 Service Unavailable\r\n\r\n") as port:
        assert address.responds("127.0.0.1", port)


def test_another_protocol_does_not_count() -> None:
    with listener(b"SSH-2.0-OpenSSH_9.2\r\n") as port:
        assert not address.responds("127.0.0.1", port)


def test_a_wildcard_address_is_checked_through_the_loopback() -> None:
    with listener(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        assert address.responds("0.0.0.0", port)


def test_a_free_port_does_not_respond() -> None:
    assert not address.responds("127.0.0.1", address.choose_port("127.0.0.1", 0))


@pytest.mark.parametrize(
    ("host", "allowed", "trusted", "url"),
    [
        ("127.0.0.1", ["localhost"], [], "http://127.0.0.1:8000"),
        ("::1", ["localhost"], [], "http://[::1]:8000"),
        ("0.0.0.0", ["nas.lan", "localhost"], [], "http://nas.lan:8000"),
        ("0.0.0.0", ["*"], [], "http://127.0.0.1:8000"),
        ("::", [".example.com", "[::1]"], [], "http://[::1]:8000"),
        ("127.0.0.1", ["m.example.com"], ["https://m.example.com"], "https://m.example.com"),
        ("127.0.0.1", ["localhost"], ["https://*.example.com"], "http://127.0.0.1:8000"),
    ],
)
def test_the_public_url_is_reachable(host: str, allowed: list[str], trusted: list[str], url: str) -> None:
    assert address.public_url(host, 8000, allowed, trusted) == url
