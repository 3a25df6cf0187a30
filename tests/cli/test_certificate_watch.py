"""The certificate is read again when it changes, without an end to connections; its own end is told ahead."""

import datetime
import logging
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from homeserver.certificate_watch import CertificateWatch, warning_step
from homeserver.tls import Certificate, CertificateStore
from tests.support.network import until

from .test_tls import connect, make, names_served, serve

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def store_in(directory: Path, name: str = "a.example", days: int = 60) -> CertificateStore:
    make(directory, name, ec.generate_private_key(ec.SECP256R1()), days)
    return CertificateStore(directory / "certificate.pem", directory / "key.pem")


@pytest.mark.parametrize(
    ("left", "step"),
    [
        ({"days": 15}, None),
        ({"days": 14}, 14),
        ({"days": 8}, 14),
        ({"days": 7}, 7),
        ({"days": 3}, 3),
        ({"hours": 25}, 3),
        ({"hours": 24}, 1),
        ({"seconds": 1}, 1),
        ({"seconds": 0}, 0),
        ({"days": -3}, 0),
    ],
)
def test_when_it_is_time_to_warn(left: dict[str, int], step: int | None) -> None:
    certificate = Certificate(Path("x"), ("a.example",), NOW, NOW + datetime.timedelta(**left), False)
    assert warning_step(certificate, NOW) == step


def test_each_warning_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = store_in(tmp_path)
    end = store.certificate.not_after
    now = end - datetime.timedelta(days=20)
    watch = CertificateWatch(store, lambda: now)
    told = []
    with caplog.at_level(logging.INFO):
        for days in (20, 14, 13, 7, 6, 3, 2, 1, 0.5, -1, -2):
            now = end - datetime.timedelta(days=days)
            caplog.clear()
            watch.warn()
            told += [(days, record.levelname) for record in caplog.records]
    assert told == [(14, "WARNING"), (7, "WARNING"), (3, "WARNING"), (1, "WARNING"), (-1, "ERROR")]


async def test_a_changed_certificate_is_served_and_connections_stay(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    watch = CertificateWatch(store)
    server = await serve(store)
    async with server:
        reader, writer = await connect(server)
        assert names_served(writer) == ["a.example"]
        await watch.look()
        store_in(tmp_path, "b.example")
        await watch.look()
        _, new = await connect(server, name="b.example")
        assert names_served(new) == ["b.example"]
        writer.write(b"still there\n")
        assert await reader.readline() == b"still there\n"
        writer.close()
        new.close()


async def test_half_a_renewal_leaves_the_old_one_in_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_in(tmp_path)
    watch = CertificateWatch(store)
    other = tmp_path / "other"
    other.mkdir()
    store_in(other, "b.example")
    (tmp_path / "key.pem").write_bytes((other / "key.pem").read_bytes())
    await watch.look()
    assert store.certificate.names == ("a.example",)
    assert "stays in use" in caplog.text
    (tmp_path / "certificate.pem").write_bytes((other / "certificate.pem").read_bytes())
    await watch.look()
    assert store.certificate.names == ("b.example",)


async def test_a_certificate_that_vanishes_stays_in_use(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    watch = CertificateWatch(store)
    (tmp_path / "certificate.pem").unlink()
    await watch.look()
    assert store.certificate.names == ("a.example",)


async def test_it_looks_by_itself(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    watch = CertificateWatch(store, look_every_s=0.01)
    watch.start()
    store_in(tmp_path, "b.example")

    async def is_new() -> bool:
        return store.certificate.names == ("b.example",)

    await until(is_new, "the new certificate")
    await watch.stop()


async def test_a_look_that_fails_is_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_in(tmp_path)
    watch = CertificateWatch(store, look_every_s=0.01)
    reload, failures = store.reload, [FileNotFoundError("replaced just now"), ValueError("a strange one")]

    def sometimes() -> Certificate:
        if failures:
            raise failures.pop()
        return reload()

    monkeypatch.setattr(store, "reload", sometimes)
    watch.start()
    store_in(tmp_path, "b.example")

    async def is_new() -> bool:
        return store.certificate.names == ("b.example",)

    await until(is_new, "the new certificate")
    assert "replaced just now" in caplog.text and "a strange one" in caplog.text
    await watch.stop()
