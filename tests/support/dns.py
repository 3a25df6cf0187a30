"""A DNS server on loopback that answers from a table, over UDP and TCP.

    async with DNSServer() as dns:
        dns.add("matrix.example", "A", "127.86.0.1")
        dns.add("_matrix-fed._tcp.matrix.example", "SRV", (10, 5, 8449, "host.example"))
        dns.add("alias.example", "CNAME", "matrix.example")
        ... dns.address is "127.0.0.1:PORT" ...

A name without records does not exist (NXDOMAIN); one with records of other types has no data. `dns.failing` names are
answered SERVFAIL. `dns.queries` lists what was asked. Times to live are 0: nobody may cache.
"""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from types import TracebackType

TYPES = {"A": 1, "CNAME": 5, "AAAA": 28, "SRV": 33}
NAMES_OF_TYPES = {number: name for name, number in TYPES.items()}
Value = str | tuple[int, int, int, str]
NO_ERROR, SERVFAIL, NXDOMAIN = 0, 2, 3


class DNSServer:
    """The server; `async with` starts and stops it."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[Value]] = {}
        self.failing: set[str] = set()
        self.queries: list[tuple[str, str]] = []
        self.address = ""
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    def add(self, name: str, kind: str, *values: Value) -> None:
        """Add records of a name."""
        self.records.setdefault((name.lower(), kind), []).extend(values)

    def replace(self, name: str, kind: str, *values: Value) -> None:
        """From now on the name has these records of this type."""
        self.records[name.lower(), kind] = list(values)

    async def __aenter__(self) -> DNSServer:
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve_stream, "127.0.0.1", 0)
        port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=("127.0.0.1", port)
        )
        self.address = f"127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._udp is not None
        assert self._tcp is not None
        self._udp.close()
        self._tcp.close()
        await self._tcp.wait_closed()

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                length = struct.unpack("!H", await reader.readexactly(2))[0]
                answer = self.answer(await reader.readexactly(length))
                writer.write(struct.pack("!H", len(answer)) + answer)
        except asyncio.IncompleteReadError:
            writer.close()

    def answer(self, query: bytes) -> bytes:
        """The answer to one query in DNS's wire format."""
        number, flags = struct.unpack("!HH", query[:4])
        labels, position = [], 12
        while query[position]:
            length = query[position]
            labels.append(query[position + 1 : position + 1 + length].decode())
            position += 1 + length
        name = ".".join(labels)
        kind = NAMES_OF_TYPES.get(struct.unpack("!H", query[position + 1 : position + 3])[0], "?")
        self.queries.append((name.lower(), kind))
        status, answers = self._look_up(name.lower(), kind)
        header = struct.pack("!HHHHHH", number, 0x8400 | (flags & 0x0100) | status, 1, len(answers), 0, 0)
        return header + query[12 : position + 5] + b"".join(answers)

    def _look_up(self, name: str, kind: str) -> tuple[int, list[bytes]]:
        if name in self.failing:
            return SERVFAIL, []
        if not any(known == name for known, _ in self.records):
            return NXDOMAIN, []
        answers = []
        for target in self.records.get((name, "CNAME"), []):
            assert isinstance(target, str)
            answers.append(_record(name, "CNAME", _name(target)))
            if kind == "CNAME":
                return NO_ERROR, answers
            answers += self._look_up(target.lower(), kind)[1]
        for value in self.records.get((name, kind), []):
            if isinstance(value, tuple):
                priority, weight, port, target = value
                answers.append(
                    _record(name, kind, struct.pack("!HHH", priority, weight, port) + _name(target))
                )
            else:
                answers.append(_record(name, kind, ipaddress.ip_address(value).packed))
        return NO_ERROR, answers


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DNSServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self._transport.sendto(self._server.answer(data), address)


def _name(name: str) -> bytes:
    labels = [label for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def _record(name: str, kind: str, data: bytes) -> bytes:
    return _name(name) + struct.pack("!HHIH", TYPES[kind], 1, 0, len(data)) + data
