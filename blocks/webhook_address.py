"""Which addresses may be called for a stranger: only public ones, so that nobody reaches into our own network.

The name is resolved once, every address it has must be public, and the connection goes to one of these: a name that
means something else a moment later changes nothing.
"""

import asyncio
import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, NamedTuple

import httpx

from gpu_tasks.contract.faults import FaultCode, FaultError

Address = IPv4Address | IPv6Address

_HTTPS_PORT: Final = 443
_RESOLVE_SECONDS: Final = 5.0
_FIELD: Final = "webhook_url"
# What `is_global` of this Python lets through although it leads to where nobody outside should get.
_NOT_PUBLIC: Final = tuple(
    ip_network(each)
    for each in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "64:ff9b::/96",  # NAT64: an IPv4 address in disguise
        "64:ff9b:1::/48",
        "fec0::/10",
        "2001:db8::/32",
    )
)


class Callee(NamedTuple):
    """Whom to call: `url` as it was given; `host` is its name in ASCII."""

    url: httpx.URL
    host: str
    port: int


def parse(url: str, *, allow_loopback: bool) -> Callee:
    """Return whom an address means, judged by its text alone.

    Args:
        url: As the caller gave it.
        allow_loopback: Whether this machine itself may be called, without encryption and on any port (local stack).

    Raises:
        FaultError: WEBHOOK_REFUSED.
    """
    if not url.isascii() or not url.isprintable() or any(letter in url for letter in ' \\"<>`'):
        raise _refused("It holds characters that no address has; encode them.")
    try:
        parsed = httpx.URL(url)
        host, port = parsed.raw_host.decode().strip("[]"), parsed.port
    except (httpx.InvalidURL, ValueError) as error:
        raise _refused("It is no address.") from error
    if not host or parsed.userinfo:
        raise _refused("It is an address such as https://example.com/hooks, without name and password.")
    literal = _literal(host)
    may_be_here = allow_loopback and (host == "localhost" or (literal is not None and literal.is_loopback))
    if may_be_here and parsed.scheme in {"http", "https"}:
        return Callee(parsed, host, port or (_HTTPS_PORT if parsed.scheme == "https" else 80))
    if parsed.scheme != "https" or (port or _HTTPS_PORT) != _HTTPS_PORT:
        raise _refused("It begins with https:// and names no other port than 443.")
    if literal is not None and not is_public(literal):
        raise _refused("It is not a public address.")
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        raise _refused("It is not a public name.")
    return Callee(parsed, host, _HTTPS_PORT)


async def resolve(callee: Callee, *, allow_loopback: bool) -> tuple[Address, ...]:
    """Return the addresses of a name, IPv4 first.

    Raises:
        FaultError: WEBHOOK_REFUSED when one of them is not public.
        OSError: The name has no address, or nobody said so in time (TimeoutError is one).
    """
    async with asyncio.timeout(_RESOLVE_SECONDS):
        infos = await asyncio.get_running_loop().getaddrinfo(callee.host, callee.port, type=socket.SOCK_STREAM)
    found = dict.fromkeys(ip_address(str(place[0]).partition("%")[0]) for *_, place in infos)
    for address in found:
        if not is_public(address) and not (allow_loopback and address.is_loopback):
            raise _refused("Its name leads to an address that is not public.")
    return tuple(sorted(found, key=lambda address: address.version))


async def check(url: str, *, allow_loopback: bool) -> None:
    """Refuse an address when it can be known now that it may not be called.

    Raises:
        FaultError: WEBHOOK_REFUSED.
    """
    callee = parse(url, allow_loopback=allow_loopback)
    # A name that cannot be resolved now may be when it is called.
    with suppress(OSError, UnicodeError):
        await resolve(callee, allow_loopback=allow_loopback)


def is_public(address: Address) -> bool:
    """Tell whether an address, and each that stands inside it, is one of the open internet."""
    inside: list[Address] = [address]
    if isinstance(address, IPv6Address):
        inside += [each for each in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())) if each]
    return all(
        each.is_global and not each.is_multicast and not any(each in network for network in _NOT_PUBLIC)
        for each in inside
    )


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _refused(detail: str) -> FaultError:
    return FaultError(FaultCode.WEBHOOK_REFUSED, detail, field=_FIELD)
