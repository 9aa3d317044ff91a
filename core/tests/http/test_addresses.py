from __future__ import annotations

from ipaddress import ip_address

import pytest

from core.http.addresses import AddressScope, classify_address, parse_ip_literal

PUBLIC = ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::1"]
LOCAL = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.7",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.20",
    "100.64.0.1",
    "::1",
    "fd12:3456::1",
]
NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "169.254.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "192.88.99.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "2001:db8::1",
    "2001::1",
    "3fff::1",
    "64:ff9b:1::1",
    "100::1",
    "::ffff:0:7f00:1",
    "::127.0.0.1",
]


@pytest.mark.parametrize(
    ("scope", "address"), [(AddressScope.PUBLIC, a) for a in PUBLIC] + [(AddressScope.LOCAL, a) for a in LOCAL]
)
def test_addresses_are_public_or_local(scope: AddressScope, address: str) -> None:
    assert classify_address(address)[0] is scope


@pytest.mark.parametrize("address", NEVER)
def test_reserved_addresses_are_never_allowed(address: str) -> None:
    assert classify_address(address)[0] is AddressScope.NEVER


@pytest.mark.parametrize("address", [a for a in PUBLIC + LOCAL + NEVER if ":" not in a])
def test_an_embedded_ipv4_address_decides_the_scope(address: str) -> None:
    number = int(ip_address(address))
    carriers = [f"::ffff:{address}", f"64:ff9b::{address}", f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1"]
    assert [classify_address(carrier) for carrier in carriers] == [classify_address(address)] * 3


@pytest.mark.parametrize(
    ("spelt", "meant"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0X7F.0.0.1", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.1", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("0x", "0.0.0.0"),
        ("169.16689662", "169.254.169.254"),
        ("127。0。0。1", "127.0.0.1"),
        ("１２７.0.0.1", "127.0.0.1"),  # noqa: RUF001  (digits of another script on purpose)
        ("①②⑦.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("::ffff:127.0.0.1", "::ffff:7f00:1"),
    ],
)
def test_every_notation_of_an_address_is_parsed(spelt: str, meant: str) -> None:
    assert parse_ip_literal(spelt) == ip_address(meant)


@pytest.mark.parametrize(
    "name",
    ["example.com", "localhost", "1.2.3.4.5", "256.0.0.1", "4294967296", "1.2.3.256", "nas", "a.1", "", "::g"],
)
def test_names_are_not_parsed_as_addresses(name: str) -> None:
    assert parse_ip_literal(name) is None
