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
    """A port on which somebody listens, and answers one connection with `reply`."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(reply)

        if reply:
            threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1]


def test_a_taken_port_is_refused_with_the_name_and_pid_of_its_holder() -> None:
    with (
        listener() as port,
        pytest.raises(address.AddressError, match=rf"{port} is taken by .+ \(pid {os.getpid()}\)"),
    ):
        address.claim("127.0.0.1", port)


def test_port_zero_means_a_free_one() -> None:
    port = address.claim("127.0.0.1", 0)
    assert address.claim("127.0.0.1", port) == port


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(address.AddressError, match=r"no address 192\.0\.2\.1"):
        address.claim("192.0.2.1", 8000)


def test_a_name_that_means_nothing_is_refused() -> None:
    with pytest.raises(address.AddressError, match=r"Cannot listen on nowhere\.invalid:8000"):
        address.claim("nowhere.invalid", 8000)


def test_an_http_answer_counts_whatever_its_status() -> None:
    with listener(b"HTTP/1.1 503 Service Unavailable\r\n\r\n") as port:
        assert address.answers("127.0.0.1", port)


def test_something_else_that_listens_does_not_count() -> None:
    with listener(b"SSH-2.0-OpenSSH_9.2\r\n") as port:
        assert not address.answers("127.0.0.1", port)


def test_a_wildcard_address_is_asked_through_the_loopback() -> None:
    with listener(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        assert address.answers("0.0.0.0", port)


def test_nobody_listening_is_no_answer() -> None:
    assert not address.answers("127.0.0.1", address.claim("127.0.0.1", 0))


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
def test_the_shown_address_is_one_that_will_be_answered(
    host: str, allowed: list[str], trusted: list[str], url: str
) -> None:
    assert address.public_url(host, 8000, allowed, trusted) == url
