"""Headers that hold what no header should: bytes beyond ASCII, which arrive as lone surrogates, and far too much."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.client import Answer
from tests.support.federation_peer import FederationPeer
from tests.support.whole import V3, WholeServer

ODD = (
    "é".encode(),
    b"\xe9",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    "😀".encode(),
    b"\t",
    b'"',
    b"\\",
    b"x" * 5_000,
    b"=,=,",
    b"%00",
)


async def exchange(
    ours: WholeServer,
    method: str,
    target: str,
    header: bytes,
    body: bytes = b"",
    *,
    name: bytes = b"Authorization",
) -> Answer:
    """A request with one header, whose bytes go out as they are."""
    url = urlsplit(ours.base_url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        )
        writer.write(head.encode() + name + b": " + header + b"\r\n\r\n" + body)
        async with asyncio.timeout(20):
            answer = await reader.read()
    finally:
        writer.close()
    head_of_answer, _, content = answer.partition(b"\r\n\r\n")
    return Answer(int(head_of_answer.split()[1]), json.loads(content), content, {})


async def test_access_tokens(ours: WholeServer) -> None:
    for odd in ODD:
        for header in (b"Bearer " + odd, b"Bearer x" + odd + b" y", odd, odd + b" x"):
            answer = await exchange(ours, "GET", f"{V3}/account/whoami", header)
            assert answer.status == 401, (header, answer.content)
            assert answer.errcode in ("M_UNKNOWN_TOKEN", "M_MISSING_TOKEN"), (header, answer.content)
            # Where no token is needed.
            answer = await exchange(ours, "GET", f"{V3}/publicRooms", header)
            assert answer.status in (200, 401), (header, answer.content)


async def test_signatures_of_requests(ours: WholeServer, peer: FederationPeer) -> None:
    for header in _x_matrix(ours.server_name.encode(), peer.server_name.encode()):
        answer = await exchange(ours, "GET", "/_matrix/federation/v1/event/$x", header)
        assert (answer.status, answer.errcode) in ((401, "M_UNAUTHORIZED"), (403, "M_FORBIDDEN")), (
            header,
            answer.content,
        )


def _x_matrix(ours: bytes, theirs: bytes) -> Iterator[bytes]:
    given = {b"origin": theirs, b"destination": ours, b"key": b"ed25519:x", b"sig": b"eA"}
    for parameter in (*given, b"other"):
        for odd in ODD:
            for value in (odd, given.get(parameter, b"") + odd):
                parameters = {**given, parameter: value}
                yield b"X-Matrix " + b",".join(b'%s="%s"' % pair for pair in parameters.items())


async def test_other_headers(ours: WholeServer) -> None:
    for name in (
        b"X-Forwarded-For",
        b"Content-Type",
        b"Origin",
        b"Accept",
        b"Accept-Encoding",
        b"Cookie",
        b"Range",
    ):
        for odd in ODD:
            (await exchange(ours, "GET", "/_matrix/client/versions", odd, name=name)).ok()
            login = await exchange(
                ours, "POST", f"{V3}/login", odd, b'{"type":"m.login.password"}', name=name
            )
            login.refused(400, "M_MISSING_PARAM")


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
async def test_a_body_that_is_not_encoded_as_it_says(ours: WholeServer, encoding: bytes) -> None:
    body = b'{"type":"x"}'
    answer = await exchange(ours, "POST", f"{V3}/login", encoding, body, name=b"Content-Encoding")
    assert answer.refused(400, "M_UNKNOWN")["error"].startswith("The request broke off: ")


async def test_a_compression_bomb(ours: WholeServer) -> None:
    body = gzip.compress(b" " * 2**26)
    assert len(body) < 2**17
    answer = await exchange(ours, "POST", f"{V3}/login", b"gzip", body, name=b"Content-Encoding")
    answer.refused(413, "M_TOO_LARGE")
