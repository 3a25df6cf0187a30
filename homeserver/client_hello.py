"""What a TLS client offers in its first message, read from the bytes that it sends. Pure.

Python's `ssl` tells a server's callback the name that the client asks for, and not the protocols that it offers.
"""

from __future__ import annotations

LONGEST = 65536
"""More bytes than that are no first message of a client."""

_HANDSHAKE_RECORD = 22
_CLIENT_HELLO = 1
_APPLICATION_LAYER_PROTOCOL_NEGOTIATION = 16


def protocols_offered(received: bytes) -> frozenset[bytes]:
    """The application protocols (ALPN) that the client offers in its ClientHello; empty when there are none.

    `received`: all that the client has sent so far. What is no whole ClientHello offers nothing: OpenSSL judges it.
    Spec: https://www.rfc-editor.org/rfc/rfc8446#section-4.1.2 and https://www.rfc-editor.org/rfc/rfc7301#section-3.1
    """
    try:
        return _protocols(_Reader(_handshake_message(received)))
    except _Truncated:
        return frozenset()


class _Truncated(Exception):
    pass


class _Reader:
    """Takes numbers and vectors off the front of some bytes. Raises _Truncated."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def take(self, length: int) -> bytes:
        if len(self.rest) < length:
            raise _Truncated
        taken, self.rest = self.rest[:length], self.rest[length:]
        return taken

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "big")

    def vector(self, length_of_length: int) -> bytes:
        return self.take(self.number(length_of_length))


def _handshake_message(received: bytes) -> bytes:
    """The body of the ClientHello, put together from the records that it is cut into."""
    records, message = _Reader(received), b""
    while True:
        if records.number(1) != _HANDSHAKE_RECORD:
            raise _Truncated
        records.take(2)  # the record's version says nothing
        message += records.vector(2)
        if len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4], "big"):
            break
    if message[0] != _CLIENT_HELLO:
        raise _Truncated
    return _Reader(message[1:]).vector(3)


def _protocols(hello: _Reader) -> frozenset[bytes]:
    hello.take(2 + 32)  # version, random
    hello.vector(1)  # session
    hello.vector(2)  # ciphers
    hello.vector(1)  # compression
    extensions = _Reader(hello.vector(2))
    while extensions.rest:
        kind, content = extensions.number(2), extensions.vector(2)
        if kind == _APPLICATION_LAYER_PROTOCOL_NEGOTIATION:
            names, found = _Reader(_Reader(content).vector(2)), set()
            while names.rest:
                found.add(names.vector(1))
            return frozenset(found)
    return frozenset()
