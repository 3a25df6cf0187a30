"""What a client offers, read from the bytes that real clients send; and who gets a challenge's certificate."""

import asyncio
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from homeserver.acme.responders import challenge_certificate
from homeserver.client_hello import LONGEST, protocols_offered
from homeserver.tls import CertificateStore

from .test_tls import connect, make, names_served, serve


def offering(*protocols: str, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """The settings of a client that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = newest
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def hello(*protocols: str, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """The first bytes of a client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = offering(*protocols, newest=newest).wrap_bio(incoming, outgoing, server_hostname="a.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def in_records(sent: bytes, length: int) -> bytes:
    """The same message, cut into records of at most so many bytes."""
    message = sent[5:]
    parts = [message[start : start + length] for start in range(0, len(message), length)]
    return b"".join(sent[:3] + len(part).to_bytes(2, "big") + part for part in parts)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("protocols", [(), ("acme-tls/1",), ("h2", "http/1.1")])
def test_what_is_offered(protocols: tuple[str, ...], newest: ssl.TLSVersion) -> None:
    sent = hello(*protocols, newest=newest)
    assert protocols_offered(sent) == {each.encode() for each in protocols}
    assert protocols_offered(in_records(sent, 7)) == {each.encode() for each in protocols}


def test_half_a_message_offers_nothing() -> None:
    sent = hello("acme-tls/1")
    for length in range(len(sent)):
        assert protocols_offered(sent[:length]) == frozenset()


@given(st.binary(max_size=400))
def test_anything_else_offers_nothing(sent: bytes) -> None:
    protocols_offered(sent)
    protocols_offered(b"\x16\x03\x01" + len(sent).to_bytes(2, "big") + sent)
    inner = b"\x01" + len(sent).to_bytes(3, "big") + sent
    protocols_offered(b"\x16\x03\x01" + len(inner).to_bytes(2, "big") + inner)


def store_with_challenge(directory: Path) -> CertificateStore:
    make(directory, "a.example", ec.generate_private_key(ec.SECP256R1()))
    store = CertificateStore(directory / "certificate.pem", directory / "key.pem")
    (directory / "challenge.pem").write_bytes(challenge_certificate("asked.example", b"x" * 32))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "challenge.pem")
    context.set_alpn_protocols(["acme-tls/1"])
    store.challenges["asked.example"] = context
    return store


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("name", "protocols", "served", "agreed"),
    [
        ("asked.example", ("acme-tls/1",), "asked.example", "acme-tls/1"),
        ("ASKED.example", ("acme-tls/1",), "asked.example", "acme-tls/1"),
        ("asked.example", ("h2", "http/1.1"), "a.example", "http/1.1"),
        ("asked.example", (), "a.example", None),
        ("a.example", ("acme-tls/1",), "a.example", None),
        (None, ("acme-tls/1",), "a.example", None),
    ],
)
async def test_who_gets_the_challenge(
    tmp_path: Path,
    newest: ssl.TLSVersion,
    name: str | None,
    protocols: tuple[str, ...],
    served: str,
    agreed: str | None,
) -> None:
    async with await serve(store_with_challenge(tmp_path)) as server:
        _, writer = await connect(server, name=name, context=offering(*protocols, newest=newest))
        assert names_served(writer) == [served]
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == agreed
        writer.close()


async def test_a_message_that_comes_in_pieces(tmp_path: Path) -> None:
    store = store_with_challenge(tmp_path)
    async with await serve(store) as server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = offering("acme-tls/1").wrap_bio(incoming, outgoing, server_hostname="asked.example")
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                for byte in outgoing.read():
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0)
                incoming.write(await reader.read(65536))
        assert client.selected_alpn_protocol() == "acme-tls/1"
        writer.close()


def test_a_message_without_end_is_not_kept(tmp_path: Path) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    handshake = store_with_challenge(tmp_path).context.wrap_bio(incoming, outgoing, server_side=True)
    # A message of 120 KiB, of which some comes all the time; OpenSSL waits for the rest of it.
    incoming.write(b"\x16\x03\x01\x00\x04\x01\x01\xe0\x00")
    kept = []
    for _ in range(7):
        incoming.write(b"\x16\x03\x01\x40\x00" + bytes(0x4000))
        with pytest.raises(ssl.SSLWantReadError):
            handshake.do_handshake()
        kept.append(len(vars(handshake)["received"]))
    assert 0x4000 < max(kept) <= LONGEST
    assert kept[-1] == 0
