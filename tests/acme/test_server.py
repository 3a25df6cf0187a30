"""The whole server as a process: its own event loop, its own listeners, its certificate by TLS-ALPN-01."""

import asyncio
import signal
import ssl
from pathlib import Path

import yaml

from homeserver.config.signing_key import create_signing_key
from tests.cli.process import Process
from tests.support.pebble import Pebble
from tests.support.whole import configuration


async def test_the_server_obtains_its_certificate_and_serves_it(tmp_path: Path, pebble: Pebble) -> None:
    create_signing_key(tmp_path / "signing.key")
    listener = {"port": pebble.tls_port, "bind_addresses": [pebble.host], "tls": True}
    settings = configuration(tmp_path) | {
        "server_name": f"ours.example:{pebble.tls_port}",
        "public_baseurl": f"https://ours.example:{pebble.tls_port}/",
        "listeners": [listener],
        "acme": pebble.acme("ours.example", challenges=["tls-alpn-01"]),
    }
    path = tmp_path / "homeserver.yaml"
    path.write_text(yaml.safe_dump(settings))
    server = Process(path)
    try:
        await asyncio.to_thread(server.wait_for, "was obtained by tls-alpn-01")
        trusting: ssl.SSLContext = await pebble.root()
        reader, writer = await asyncio.open_connection(
            pebble.host, pebble.tls_port, ssl=trusting, server_hostname="ours.example"
        )
        writer.write(b"GET /_matrix/client/versions HTTP/1.1\r\nHost: ours.example\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.close()
    finally:
        code, _ = await asyncio.to_thread(server.end, signal.SIGTERM)
    assert code == 0
    # Started again it goes on with the same.
    before = (tmp_path / "data/acme/certificate.pem").read_bytes()
    server = Process(path)
    try:
        await asyncio.to_thread(server.wait_for, "certificate: obtained")
    finally:
        await asyncio.to_thread(server.end, signal.SIGTERM)
    assert "Obtaining a certificate" not in server.output()
    assert (tmp_path / "data/acme/certificate.pem").read_bytes() == before
