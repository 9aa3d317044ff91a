"""What an IP address is for. Own lists: what Python's `is_private` leaves out are the usual holes.

Several forms of IPv6 carry an IPv4 address, which is dialled in the end: they are judged by what they carry.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address


class Reach(StrEnum):
    PUBLIC = "public"
    LOCAL = "local"  # this machine and private networks
    NEVER = "never"


LINK_LOCAL = "link-local, as the metadata of clouds is"
METADATA = "a cloud's metadata service"
PRIVATE = "in a private network"
DOCUMENTATION = "reserved for documentation"

# The first network that holds an address decides; an IPv4 address in none is public, an IPv6 address in none is
# not assigned to anything that could be dialled.
IPV4: tuple[tuple[IPv4Network, Reach, str], ...] = tuple(
    (IPv4Network(network), reach, name)
    for network, reach, name in (
        ("100.100.100.200/32", Reach.NEVER, METADATA),
        ("168.63.129.16/32", Reach.NEVER, METADATA),
        ("127.0.0.0/8", Reach.LOCAL, "this machine (loopback)"),
        ("10.0.0.0/8", Reach.LOCAL, PRIVATE),
        ("172.16.0.0/12", Reach.LOCAL, PRIVATE),
        ("192.168.0.0/16", Reach.LOCAL, PRIVATE),
        ("100.64.0.0/10", Reach.LOCAL, PRIVATE),
        ("0.0.0.0/8", Reach.NEVER, "unspecified"),
        ("169.254.0.0/16", Reach.NEVER, LINK_LOCAL),
        ("192.0.0.0/24", Reach.NEVER, "reserved, and a metadata service in some clouds"),
        ("192.0.2.0/24", Reach.NEVER, DOCUMENTATION),
        ("198.51.100.0/24", Reach.NEVER, DOCUMENTATION),
        ("203.0.113.0/24", Reach.NEVER, DOCUMENTATION),
        ("192.88.99.0/24", Reach.NEVER, "reserved for relays"),
        ("198.18.0.0/15", Reach.NEVER, "reserved for measurements"),
        ("224.0.0.0/4", Reach.NEVER, "multicast"),
        ("255.255.255.255/32", Reach.NEVER, "broadcast"),
        ("240.0.0.0/4", Reach.NEVER, "reserved"),
    )
)
IPV6: tuple[tuple[IPv6Network, Reach, str], ...] = tuple(
    (IPv6Network(network), reach, name)
    for network, reach, name in (
        ("fd00:ec2::254/128", Reach.NEVER, METADATA),
        ("fd20:ce::254/128", Reach.NEVER, METADATA),
        ("::1/128", Reach.LOCAL, "this machine (loopback)"),
        ("fc00::/7", Reach.LOCAL, PRIVATE),
        ("::/128", Reach.NEVER, "unspecified"),
        ("fe80::/10", Reach.NEVER, LINK_LOCAL),
        ("ff00::/8", Reach.NEVER, "multicast"),
        ("2001:db8::/32", Reach.NEVER, DOCUMENTATION),
        ("3fff::/20", Reach.NEVER, DOCUMENTATION),
        ("2001::/23", Reach.NEVER, "reserved for tunnels and protocols"),
        ("2000::/3", Reach.PUBLIC, "public"),
    )
)
# Carriers of an IPv4 address, and how many bits stand to the right of it.
CARRIERS: tuple[tuple[IPv6Network, int], ...] = (
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (IPv6Network("2002::/16"), 80),  # 6to4
)


def carried(address: Address) -> Address:
    """The IPv4 address inside `address`, or `address` itself."""
    for network, shift in CARRIERS:
        if address in network:
            return IPv4Address((int(address) >> shift) & 0xFFFFFFFF)
    return address


@lru_cache(maxsize=1024)
def judged(text: str) -> tuple[Reach, str]:
    """How far away the address `text` is (as a socket has it), and what it is. Raises ValueError."""
    address = carried(ip_address(text.partition("%")[0]))
    rules = IPV4 if address.version == 4 else IPV6
    found = ((reach, name) for network, reach, name in rules if address in network)
    return next(found, (Reach.PUBLIC, "public") if address.version == 4 else (Reach.NEVER, "not assigned"))


# --- Spellings in URLs ----------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def literal(host: str) -> Address | None:
    """The address that resolvers read out of `host`, however it is spelt; None for a name.

    Octal, hexadecimal, one number or two (`127.1`), digits of other scripts: all of them have been ways past a
    check.
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
