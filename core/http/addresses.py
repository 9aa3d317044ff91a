"""Classifies IP addresses. Python's `is_private` misses some of the ranges listed here.

An IPv6 address that embeds an IPv4 address is classified by that address, to which the connection finally goes.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address


class AddressScope(StrEnum):
    PUBLIC = "public"
    LOCAL = "local"  # this machine and private networks
    NEVER = "never"


LINK_LOCAL = "link-local, like cloud metadata services"
METADATA = "a cloud metadata service"
PRIVATE = "in a private network"
DOCUMENTATION = "reserved for documentation"

# The first network that contains an address decides. An IPv4 address in none of them is public; an IPv6 address in
# none of them is not assigned.
IPV4: tuple[tuple[IPv4Network, AddressScope, str], ...] = tuple(
    (IPv4Network(network), scope, name)
    for network, scope, name in (
        ("100.100.100.200/32", AddressScope.NEVER, METADATA),
        ("168.63.129.16/32", AddressScope.NEVER, METADATA),
        ("127.0.0.0/8", AddressScope.LOCAL, "this machine (loopback)"),
        ("10.0.0.0/8", AddressScope.LOCAL, PRIVATE),
        ("172.16.0.0/12", AddressScope.LOCAL, PRIVATE),
        ("192.168.0.0/16", AddressScope.LOCAL, PRIVATE),
        ("100.64.0.0/10", AddressScope.LOCAL, PRIVATE),
        ("0.0.0.0/8", AddressScope.NEVER, "unspecified"),
        ("169.254.0.0/16", AddressScope.NEVER, LINK_LOCAL),
        ("192.0.0.0/24", AddressScope.NEVER, "reserved, and a metadata service in some clouds"),
        ("192.0.2.0/24", AddressScope.NEVER, DOCUMENTATION),
        ("198.51.100.0/24", AddressScope.NEVER, DOCUMENTATION),
        ("203.0.113.0/24", AddressScope.NEVER, DOCUMENTATION),
        ("192.88.99.0/24", AddressScope.NEVER, "reserved for relays"),
        ("198.18.0.0/15", AddressScope.NEVER, "reserved for measurements"),
        ("224.0.0.0/4", AddressScope.NEVER, "multicast"),
        ("255.255.255.255/32", AddressScope.NEVER, "broadcast"),
        ("240.0.0.0/4", AddressScope.NEVER, "reserved"),
    )
)
IPV6: tuple[tuple[IPv6Network, AddressScope, str], ...] = tuple(
    (IPv6Network(network), scope, name)
    for network, scope, name in (
        ("fd00:ec2::254/128", AddressScope.NEVER, METADATA),
        ("fd20:ce::254/128", AddressScope.NEVER, METADATA),
        ("::1/128", AddressScope.LOCAL, "this machine (loopback)"),
        ("fc00::/7", AddressScope.LOCAL, PRIVATE),
        ("::/128", AddressScope.NEVER, "unspecified"),
        ("fe80::/10", AddressScope.NEVER, LINK_LOCAL),
        ("ff00::/8", AddressScope.NEVER, "multicast"),
        ("2001:db8::/32", AddressScope.NEVER, DOCUMENTATION),
        ("3fff::/20", AddressScope.NEVER, DOCUMENTATION),
        ("2001::/23", AddressScope.NEVER, "reserved for tunnels and protocols"),
        ("2000::/3", AddressScope.PUBLIC, "public"),
    )
)
# IPv6 networks with an embedded IPv4 address, and the number of bits to the right of it.
EMBEDDED_IPV4: tuple[tuple[IPv6Network, int], ...] = (
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (IPv6Network("2002::/16"), 80),  # 6to4
)


def embedded_ipv4(address: Address) -> Address:
    for network, shift in EMBEDDED_IPV4:
        if address in network:
            return IPv4Address((int(address) >> shift) & 0xFFFFFFFF)
    return address


@lru_cache(maxsize=1024)
def classify_address(text: str) -> tuple[AddressScope, str]:
    """The scope and a description of an address as sockets return it. Raises ValueError."""
    address = embedded_ipv4(ip_address(text.partition("%")[0]))
    rules = IPV4 if address.version == 4 else IPV6
    found = ((scope, name) for network, scope, name in rules if address in network)
    return next(
        found, (AddressScope.PUBLIC, "public") if address.version == 4 else (AddressScope.NEVER, "not assigned")
    )


# --- Notations in URLs ----------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def parse_ip_literal(host: str) -> Address | None:
    """The address that resolvers parse from `host`; None for a name.

    Accepts octal, hexadecimal and shortened notations (`127.1`) and digits of other scripts, since all of them
    have been used to bypass address checks.
    """
    host = unicodedata.normalize("NFKC", host).replace("。", ".").strip("[]").rstrip(".")
    if ":" in host:
        return _ipv6(host)
    parts = host.split(".")
    if len(parts) > 4 or not all(re.fullmatch(r"0[xX][0-9a-fA-F]*|[0-9]+", part) for part in parts):
        return None
    *bytes_, rest = (_number(part) for part in parts)
    if max(bytes_, default=0) > 255 or rest >= 256 ** (4 - len(bytes_)):
        return None
    return IPv4Address(sum(byte << (24 - 8 * place) for place, byte in enumerate(bytes_)) + rest)


def _ipv6(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _number(part: str) -> int:
    if part[:2] in ("0x", "0X"):
        return int(part[2:] or "0", 16)
    is_octal = part.startswith("0") and not set(part) & {"8", "9"}
    return int(part, 8 if is_octal else 10)
