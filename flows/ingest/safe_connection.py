"""Connections to allowed hosts at permitted addresses alone.

A host's address is looked up once, checked, and that very address is connected to: a name that means another
address a moment later changes nothing.
"""

import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import httpcore
import httpx

from flows.ingest.errors import ForbiddenError
from flows.ingest.schema import Access, host_matches

AGENT = "larder"
"""What servers and robots.txt call us."""

_CONNECT_SECONDS = 8
_TRANSLATED = IPv6Network("64:ff9b::/96")
_PROVIDERS_OWN = tuple(map(IPv4Network, ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24")))
"""Addresses that not every Python knows to be special: behind some a cloud provider answers its machines."""

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Sequence[str]]


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, as the system knows them, each once."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[4][0]).partition("%")[0] for place in found))


@dataclass(frozen=True)
class Boundary:
    """Which hosts may be asked, and which addresses connected to."""

    hosts: tuple[str, ...]
    networks: tuple[str, ...] = ()
    resolve: Resolve = resolve

    @classmethod
    def of(cls, access: Access) -> "Boundary":
        """The boundary that a configuration draws."""
        return cls(access.hosts, access.networks)

    def require_host(self, host: str, url: str) -> None:
        """Return if the configuration names this host.

        Raises:
            ForbiddenError: if it does not; `url` says where.
        """
        if not any(host_matches(host, pattern) for pattern in self.hosts):
            cause = f"the host {host} is not among those that the configuration allows"
            raise ForbiddenError(
                url, f"{cause} ({', '.join(self.hosts)}). If it is meant, add it to `hosts`."
            )

    def allows_address(self, text: str) -> bool:
        """Whether an address is public, or lies in a network that the configuration names."""
        address = ip_address(text)
        within = _within(address)
        if any(one in ip_network(network) for network in self.networks for one in (address, within)):
            return True
        return all(_is_public(one) for one in (address, within))


class CheckedNetwork(httpcore.NetworkBackend):
    """Opens connections within a boundary."""

    def __init__(self, boundary: Boundary) -> None:
        self._boundary = boundary
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to a permitted address of a host.

        Raises:
            ForbiddenError: if the host is not allowed or has no permitted address.
            httpcore.ConnectError: if it has no address, or none answers.
        """
        place = f"{host}:{port}"
        self._boundary.require_host(host, place)
        try:
            addresses = self._boundary.resolve(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"the host {host} has no address ({error})") from error
        permitted = [address for address in addresses if self._boundary.allows_address(address)]
        if not permitted:
            raise ForbiddenError(place, _private(addresses))
        last: Exception = httpcore.ConnectError(f"the host {host} has no address")
        for address in permitted:
            try:
                return self._plain.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        raise last

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ARG002
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """Refuse: nothing that is ingested lies behind a socket of this machine."""
        raise ForbiddenError(path, "it is a socket of this machine.")


class CheckedTransport(httpx.HTTPTransport):
    """httpx's transport on checked connections. Proxies are not used: they would hide the address."""

    def __init__(self, boundary: Boundary, certificates: ssl.SSLContext) -> None:
        super().__init__(verify=certificates, trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=certificates, network_backend=CheckedNetwork(boundary), max_connections=4
        )


def client(
    boundary: Boundary, answer_seconds: float, certificates: ssl.SSLContext | None = None
) -> httpx.Client:
    """A client that follows no redirect by itself, verifies https, and reads no proxy and no `.netrc`.

    Args:
        boundary: where it may connect to
        answer_seconds: how long a server may say nothing
        certificates: whom it trusts; by default those that certifi or `SSL_CERT_FILE` name
    """
    return httpx.Client(
        transport=CheckedTransport(boundary, certificates or _trusted()),
        follow_redirects=False,
        trust_env=False,
        timeout=httpx.Timeout(answer_seconds, connect=_CONNECT_SECONDS),
        headers={"User-Agent": AGENT, "Accept-Encoding": "identity"},
    )


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _within(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, else itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour or address
    if address.teredo:
        return address.teredo[1]
    return IPv4Address(int(address) & 0xFFFF_FFFF) if address in _TRANSLATED else address


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and (address.ipv4_mapped or address in _TRANSLATED):
        return True
    special = any(address in network for network in _PROVIDERS_OWN)
    return address.is_global and not (address.is_multicast or address.is_reserved or special)


def _private(addresses: Sequence[str]) -> str:
    return (
        f"its address {', '.join(addresses)} is private, link-local or reserved. "
        "If that is meant, add its network to `networks`."
    )
