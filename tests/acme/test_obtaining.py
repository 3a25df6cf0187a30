"""Certificates from a real ACME server: the first one, renewals, failures, restarts."""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import ssl
import stat
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from homeserver.acme import CertificateRenewal
from homeserver.acme.errors import ACMEError
from homeserver.acme.state import State, write_state
from homeserver.app.certificates import certificate_renewal
from homeserver.certificate_watch import CertificateWatch
from homeserver.config import Settings, settings_from
from homeserver.tls import CertificateStore, certificate_store
from tests.support.dns import DNSServer
from tests.support.network import until
from tests.support.pebble import BLOCKED, Pebble

BOTH = ["tls-alpn-01", "http-01"]


class Operator:
    """A server's certificate without the rest of the server, which sends back each line; `now` is its time."""

    def __init__(self, directory: Path, pebble: Pebble, *domains: str, **acme: Any) -> None:
        document = {
            "server_name": "ours.example",
            "acme": pebble.acme(*(domains or ("ours.example",)), **acme),
            # As if there were one on 443.
            "listeners": [{"port": 443, "tls": True}],
        }
        self.settings: Settings = settings_from(document, base=directory).settings
        self.store: CertificateStore = certificate_store(self.settings)
        self.watch = CertificateWatch(self.store)
        self.directory = directory / "data/acme"
        self.now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        self.renewal: CertificateRenewal = certificate_renewal(
            self.settings, self.store, self.watch, lambda: self.now
        )
        self._pebble = pebble

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Open the TLS port to which pebble comes; stops the renewal at the end."""
        server = await asyncio.start_server(
            self._echo, self._pebble.host, self._pebble.tls_port, ssl=self.store.context
        )
        try:
            yield
        finally:
            await self.renewal.stop()
            server.close()

    @staticmethod
    async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line)
        except ConnectionError as error:  # pebble leaves without a word
            assert not writer.is_closing(), error
        writer.close()

    @property
    def names(self) -> set[str]:
        """Those of the certificate in use."""
        return set(self.store.certificate.names)

    def state(self) -> Any:
        """What is kept on disk of the tries."""
        return json.loads((self.directory / "state.json").read_bytes())

    def state_or_none(self) -> Any:
        """The same, None before the first try."""
        return self.state() if (self.directory / "state.json").exists() else None

    async def connect(
        self, context: ssl.SSLContext, name: str = "ours.example"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of a client."""
        return await asyncio.open_connection(
            self._pebble.host, self._pebble.tls_port, ssl=context, server_hostname=name
        )

    async def serial(self, context: ssl.SSLContext) -> int:
        """Of the certificate that a client gets."""
        _, writer = await self.connect(context)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return x509.load_der_x509_certificate(der).serial_number

    async def obtained(self) -> None:
        """Wait until the certificate is not the self-signed one."""

        async def is_obtained() -> bool:
            return not self.store.certificate.self_signed

        await until(is_obtained, "a certificate")


def anything() -> ssl.SSLContext:
    """The settings of a client that takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize("challenge", BOTH)
async def test_the_first_certificate(
    tmp_path: Path, pebble: Pebble, caplog: pytest.LogCaptureFixture, challenge: str
) -> None:
    caplog.set_level(logging.INFO)
    ours = Operator(tmp_path, pebble, "ours.example", "also.example", challenges=[challenge])
    async with ours.listening():
        assert ours.store.certificate.self_signed
        await ours.renewal.start()
        await ours.obtained()
        for name in ("ours.example", "also.example"):
            _, writer = await ours.connect(await pebble.root(), name)
            writer.close()
    assert ours.names == {"ours.example", "also.example"}
    assert ours.state()["challenge"] == challenge
    assert "to which acme.enabled agrees: data:text/plain,Do%20what%20thou%20wilt" in caplog.text
    assert ours.state()["failures"] == 0
    for path in ("certificate.pem", "account.key", "state.json"):
        assert stat.S_IMODE((ours.directory / path).stat().st_mode) == 0o600
    # Neither what was staged nor the challenge's certificate stays.
    assert {path.name for path in ours.directory.iterdir()} == {
        "certificate.pem",
        "account.key",
        "state.json",
    }


async def test_clients_are_undisturbed_meanwhile(tmp_path: Path, pebble: Pebble) -> None:
    ours = Operator(tmp_path, pebble, challenges=["tls-alpn-01"])
    async with ours.listening():
        reader, writer = await ours.connect(anything())
        before = await ours.serial(anything())
        seen = set()
        renewing = asyncio.create_task(ours.renewal.renew())
        # While the challenge is shown to pebble, everybody else gets what they always got.
        with_challenge = 0
        while not renewing.done():
            shown = bool(ours.store.challenges)
            serial = await ours.serial(anything())
            if shown and ours.store.challenges:
                with_challenge += 1
                seen.add(serial)
        await renewing
        assert with_challenge
        assert seen == {before}
        assert await ours.serial(await pebble.root()) != before
        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        writer.close()
    assert not ours.store.challenges


async def test_it_is_renewed_when_it_is_time(tmp_path: Path, pebble: Pebble) -> None:
    ours = Operator(tmp_path, pebble)
    async with ours.listening():
        await ours.renewal.renew()
        first = await ours.serial(await pebble.root())
        ours.now += datetime.timedelta(days=59)
        assert ours.renewal.due() > ours.now
        ours.now += datetime.timedelta(days=2)
        assert ours.renewal.due() < ours.now
        await ours.renewal.start()

        async def is_new() -> bool:
            return await ours.serial(await pebble.root()) != first

        await until(is_new, "another certificate")


async def test_a_restart_keeps_account_and_certificate(tmp_path: Path, pebble: Pebble) -> None:
    ours = Operator(tmp_path, pebble)
    async with ours.listening():
        await ours.renewal.renew()
    account, certificate = ours.state()["account_url"], ours.store.certificate
    again = Operator(tmp_path, pebble)
    assert again.store.certificate == certificate
    async with again.listening():
        await again.renewal.start()
        assert again.renewal.due() > again.now + datetime.timedelta(days=50)
        await again.renewal.renew()
    assert again.state()["account_url"] == account
    assert again.store.certificate != certificate


@pytest.mark.parametrize("challenge", BOTH)
async def test_a_refused_challenge_says_what_to_do(
    tmp_path: Path, pebble: Pebble, dns: DNSServer, caplog: pytest.LogCaptureFixture, challenge: str
) -> None:
    dns.add("elsewhere.example", "A", "127.0.0.9")
    ours = Operator(tmp_path, pebble, "elsewhere.example", challenges=[challenge])
    async with ours.listening():
        await ours.renewal.renew()
    assert ours.store.certificate.self_signed
    port = {"http-01": 80, "tls-alpn-01": 443}[challenge]
    assert caplog.text.count("What to do") == 1
    assert f"port {port} of elsewhere.example must reach" in caplog.text
    assert "the self-signed one stays in use" in caplog.text
    assert ours.renewal.due() == ours.now + datetime.timedelta(minutes=15)


async def test_if_one_challenge_is_refused_the_other_one_is_tried(
    tmp_path: Path, pebble: Pebble, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    # Nothing listens for TLS here.
    ours = Operator(tmp_path, pebble)
    await ours.renewal.renew()
    assert ours.names == {"ours.example"}
    assert "was not obtained by tls-alpn-01" in caplog.text
    assert ours.state()["challenge"] == "http-01"


async def test_a_port_that_is_taken_is_named(
    tmp_path: Path, pebble: Pebble, caplog: pytest.LogCaptureFixture
) -> None:
    ours = Operator(tmp_path, pebble, challenges=["http-01"])
    taken = await asyncio.start_server(Operator._echo, pebble.host, pebble.http_port)
    async with taken:
        await ours.renewal.renew()
    assert f"port {pebble.http_port} of {pebble.host} cannot be opened" in caplog.text
    assert "forward /.well-known/acme-challenge/" in caplog.text


@pytest.mark.parametrize("what", ["refused", "gone", "no ACME server"])
async def test_a_failed_renewal_leaves_the_certificate_in_use(
    tmp_path: Path, pebble: Pebble, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    ours = Operator(tmp_path, pebble)
    async with ours.listening():
        await ours.renewal.renew()
        before = (ours.directory / "certificate.pem").read_bytes()
        ours.now += datetime.timedelta(days=70)
        match what:
            case "refused":
                other = Operator(tmp_path, pebble, BLOCKED)
                said = f"this authority gives no certificate for {BLOCKED}"
            case "gone":
                other = Operator(tmp_path, pebble, directory_url="https://127.0.0.9:1/dir")
                said = "cannot be reached"
            case _:
                other = Operator(
                    tmp_path, pebble, directory_url=pebble.directory_url.replace("/dir", "/nonce-plz")
                )
                said = "does not answer as an ACME server does"
    async with other.listening():
        other.now = ours.now
        await other.renewal.renew()
        assert said in caplog.text
        assert "the one of before stays in use" in caplog.text
        assert (ours.directory / "certificate.pem").read_bytes() == before
        (await other.connect(await pebble.root()))[1].close()
        assert ours.state()["failures"] == 1


async def test_failures_are_remembered_over_restarts(
    tmp_path: Path, pebble: Pebble, caplog: pytest.LogCaptureFixture
) -> None:
    async def failures(of: Operator, number: int) -> None:
        async def is_reached() -> bool:
            # A try counts from its beginning; its reason is there at its end.
            state = of.state_or_none() or {"failures": 0}
            return state["failures"] == number and "refuses" in state["last_failure"]

        await until(is_reached, f"{number} failures")

    ours = Operator(tmp_path, pebble, BLOCKED)
    await ours.renewal.start()
    await failures(ours, 1)
    await ours.renewal.stop()
    caplog.clear()

    again = Operator(tmp_path, pebble, BLOCKED)
    await again.renewal.start()
    due = again.renewal.due()
    assert datetime.timedelta(minutes=14) < due - again.now <= datetime.timedelta(minutes=15)
    assert "SIGHUP makes it now" in caplog.text
    # Not at once after the last try, though the operator says so.
    again.renewal.try_now()
    assert again.renewal.due() == due
    again.now += datetime.timedelta(minutes=2)
    again.renewal.try_now()
    await failures(again, 2)
    await again.renewal.stop()

    # Who has changed the settings need not wait.
    changed = Operator(tmp_path, pebble)
    await changed.renewal.start()
    await changed.obtained()
    await changed.renewal.stop()


async def test_a_certificate_for_other_names_is_not_taken(
    tmp_path: Path, pebble: Pebble, caplog: pytest.LogCaptureFixture
) -> None:
    ours = Operator(tmp_path, pebble)
    await ours.renewal.renew()
    content = (ours.directory / "certificate.pem").read_bytes()
    other = Operator(tmp_path, pebble, "also.example")
    with pytest.raises(ACMEError, match=r"is not for also\.example"):
        await other.renewal._install(content)
    assert (ours.directory / "certificate.pem").read_bytes() == content


async def test_a_stop_during_an_order_is_no_failure_and_a_crash_is_one(
    tmp_path: Path, pebble: Pebble
) -> None:
    ours = Operator(tmp_path, pebble)
    async with ours.listening():
        await ours.renewal.start()

        async def has_begun() -> bool:
            return ours.state_or_none() is not None

        await until(has_begun, "an order")
        # What a crash would leave now.
        assert ours.state()["failures"] == 1
        assert ours.state()["next_attempt_ts"] == (ours.now.timestamp() + 900) * 1000
    assert ours.state()["failures"] == 0
    assert ours.renewal.due() == ours.now + datetime.timedelta(minutes=1)


async def test_a_stop_waits_for_what_is_being_written(
    tmp_path: Path, pebble: Pebble, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Operator(tmp_path, pebble, BLOCKED)
    begun, go_on, at_once, most = threading.Event(), threading.Event(), 0, 0

    def slowly(path: Path, state: State) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        begun.set()
        assert go_on.wait(10)
        write_state(path, state)
        at_once -= 1

    monkeypatch.setattr("homeserver.acme.renewal.write_state", slowly)
    await ours.renewal.start()
    await asyncio.to_thread(begun.wait, 10)
    stopping = asyncio.create_task(ours.renewal.stop())
    done, _ = await asyncio.wait({stopping}, timeout=0.1)
    assert not done
    go_on.set()
    await stopping
    assert (at_once, most) == (0, 1)
    assert ours.state()["failures"] == 0


async def test_a_clock_that_was_wrong_does_not_stop_it_for_ever(tmp_path: Path, pebble: Pebble) -> None:
    ours = Operator(tmp_path, pebble, BLOCKED)
    ours.now += datetime.timedelta(days=20_000)
    await ours.renewal.renew()
    assert ours.renewal.due() > ours.now
    ours.now -= datetime.timedelta(days=20_000)
    assert ours.renewal.due() < ours.now


async def test_a_key_of_an_older_account_is_used(tmp_path: Path, pebble: Pebble) -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    (tmp_path / "acme_account.key").write_bytes(pem)
    ours = Operator(tmp_path, pebble, account_key_file="acme_account.key")
    await ours.renewal.renew()
    assert ours.names == {"ours.example"}
    assert (tmp_path / "acme_account.key").read_bytes() == pem
    assert not (ours.directory / "account.key").exists()


async def test_another_authority_gives_another_certificate(tmp_path: Path, pebble: Pebble) -> None:
    ours = Operator(tmp_path, pebble)
    await ours.renewal.renew()
    moved = Operator(tmp_path, pebble, directory_url=f"{pebble.directory_url}?other")
    async with moved.listening():
        await moved.renewal.start()

        async def is_new() -> bool:
            return moved.state()["issued_by"].endswith("?other")

        await until(is_new, "a certificate of the other one")


@pytest.mark.parametrize("broken", ["state.json", "certificate.pem", "account.key"])
async def test_broken_files_are_named(
    tmp_path: Path, pebble: Pebble, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    ours = Operator(tmp_path, pebble)
    await ours.renewal.renew()
    (ours.directory / broken).write_text("broken")
    again = Operator(tmp_path, pebble)
    again.now += datetime.timedelta(hours=2)
    await again.renewal.start()
    await again.renewal.stop()
    await again.renewal.renew()
    assert broken in caplog.text
    assert again.store.certificate.self_signed is False
