"""The DNS: addresses of names (`/etc/hosts` first) and SRV records, without blocking the event loop."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import aiodns
import pycares

from homeserver.federation.addresses import is_ip_literal

T = TypeVar("T")

_LOOKUP_TIMEOUT = 20.0
_REREAD_AFTER = 60.0
_NO_SUCH_NAME = frozenset({pycares.errno.ARES_ENOTFOUND, pycares.errno.ARES_ENODATA})


class UnresolvedName(OSError):
    """A name did not resolve. `exists` is False if the DNS says that there is none, None if it could not be
    asked.
    """

    def __init__(self, name: str, reason: str, *, exists: bool | None) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason
        self.exists = exists


@dataclass(frozen=True)
class SRVRecord:
    """One SRV record, RFC 2782. `target` has no trailing dot; it is empty if the service is declared absent."""

    target: str
    port: int
    priority: int = 0
    weight: int = 0


class _Resolver(aiodns.DNSResolver):
    """c-ares on the event loop's own sockets and timers.

    aiodns would rather give c-ares a thread, in which lookups that time out never end once one has (c-ares
    1.34). Without the thread c-ares does not notice a changed resolv.conf: hence `reread_configuration`.
    """

    def _make_channel(self, **options: Any) -> tuple[bool, pycares.Channel]:
        return False, pycares.Channel(sock_state_cb=self._sock_state_cb, timeout=self._timeout, **options)

    def reread_configuration(self) -> None:
        """Take over the system's DNS servers anew."""
        self._channel.reinit()


class Names:
    """Resolves names with c-ares, which reads `/etc/hosts`, caches by TTL and needs no thread a lookup.

    `servers` are DNS servers to use instead of the system's, as `ip` or `ip:port` (IPv4) with one port for
    all. Construct it inside a running event loop. Search domains are not applied: server names are global.
    """

    def __init__(self, servers: Sequence[str] = (), *, timeout: float = 2.0, tries: int = 3) -> None:
        hosts = [server.rpartition(":")[0] if _has_port(server) else server for server in servers]
        ports = {int(server.rpartition(":")[2]) if _has_port(server) else 53 for server in servers}
        if len(ports) > 1:
            raise ValueError(f"the DNS servers must listen at the same port, found {sorted(ports)}")
        port = ports.pop() if ports else None
        self._system = not servers
        self._read_at = time.monotonic()
        self._resolver = _Resolver(
            nameservers=hosts or None,
            timeout=timeout,
            tries=tries,
            flags=pycares.ARES_FLAG_NOSEARCH,
            udp_port=port,
            tcp_port=port,
        )

    async def addresses(self, name: str) -> list[str]:
        """The IPv6 and IPv4 addresses of `name` (following CNAME), best first; an IP literal is its own.

        Raises UnresolvedName if there is none.
        """
        if is_ip_literal(name):
            return [name]
        result = await self._ask(
            name, lambda: self._resolver.getaddrinfo(name, port=0, type=socket.SOCK_STREAM)
        )
        found = dict.fromkeys(_text(node.addr[0]) for node in result.nodes)
        if not found:
            raise UnresolvedName(name, "the name has no address", exists=False)
        return list(found)

    async def srv(self, name: str) -> list[SRVRecord]:
        """The SRV records of `name` in no particular order; empty if there are none.

        Raises UnresolvedName if that cannot be found out.
        """
        try:
            answers = await self._ask(name, lambda: self._resolver.query(name, "SRV"))
        except UnresolvedName as failure:
            if failure.exists is False:
                return []
            raise
        return [
            SRVRecord(_text(answer.host).rstrip("."), answer.port, answer.priority, answer.weight)
            for answer in answers
        ]

    async def records(self, name: str, kind: Literal["A", "AAAA", "CNAME"]) -> list[str]:
        """The A, AAAA or CNAME records of `name` alone, as text; empty if there are none. For explanations to people.

        Raises UnresolvedName if that cannot be found out.
        """
        found: Any
        try:
            found = await self._ask(name, lambda: cast(Any, self._resolver).query(name, kind))
        except UnresolvedName as failure:
            if failure.exists is False:
                return []
            raise
        if kind == "CNAME":
            return [_text(found.cname).rstrip(".")]
        return [_text(answer.host) for answer in found]

    async def _ask(self, name: str, ask: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(_LOOKUP_TIMEOUT):
                return await ask()
        except aiodns.error.DNSError as error:
            failure = _name_error(name, error)
            if failure.exists is None:
                self._reread_configuration()
            raise failure from error
        except TimeoutError as error:
            raise UnresolvedName(name, "no answer from the DNS in time", exists=None) from error
        except UnicodeError as error:
            raise UnresolvedName(name, f"not a DNS name: {error}", exists=False) from error

    def _reread_configuration(self) -> None:
        """After a failure to reach the DNS: the machine may have moved to another network."""
        now = time.monotonic()
        if self._system and now - self._read_at > _REREAD_AFTER:
            self._read_at = now
            self._resolver.reread_configuration()

    async def close(self) -> None:
        """Give up running lookups and free the sockets."""
        # Cancelled here, because c-ares ends what still runs at its close in another thread.
        self._resolver.cancel()
        await self._resolver.close()


def _has_port(server: str) -> bool:
    return server.count(":") == 1


def _text(value: str | bytes) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def _name_error(name: str, error: aiodns.error.DNSError) -> UnresolvedName:
    code = error.args[0] if error.args else None
    message = str(error.args[1]) if len(error.args) > 1 else str(error)
    return UnresolvedName(name, message, exists=False if code in _NO_SUCH_NAME else None)
