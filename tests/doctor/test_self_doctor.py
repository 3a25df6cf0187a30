"""When another server does not accept our signature, the doctor looks at ourselves, and the error says what it finds."""

from __future__ import annotations

import asyncio
import logging

import pytest

from homeserver.doctor import Examination, Finding, Level, Section
from homeserver.doctor.examination import CLIENTS, CONNECTION
from homeserver.doctor.facts import Facts
from homeserver.doctor.self_doctor import SelfDoctor
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.queries import get_version, query_profile
from tests.federation.world import World
from tests.support.network import until


def examination(*sections: Section) -> Examination:
    made = Examination(Facts("ours.example"))
    made.sections += sections
    return made


def problem(words: str) -> Finding:
    return Finding("tcp-refused", Level.PROBLEM, "connecting", words, "start it")


async def settled(doctor: SelfDoctor) -> None:
    async def is_done() -> bool:
        return doctor._task is None

    await until(is_done, "the examination")


async def test_what_is_found_is_told_from_the_next_time_on(caplog: pytest.LogCaptureFixture) -> None:
    looks = 0

    async def examine() -> Examination:
        nonlocal looks
        looks += 1
        return examination(Section(CONNECTION, [problem("refused")]), Section(CLIENTS, [problem("no CORS")]))

    now = 0.0
    doctor = SelfDoctor(examine, lambda: now)
    assert "homeserver doctor" in doctor.trouble()
    await settled(doctor)
    told = doctor.trouble()
    assert "connecting: refused (start it)" in told and "CORS" not in told
    assert "refused" in caplog.text
    assert looks == 1
    now = 4_000.0
    doctor.trouble()
    await settled(doctor)
    assert looks == 2


async def test_nothing_is_wrong_with_us(caplog: pytest.LogCaptureFixture) -> None:
    async def examine() -> Examination:
        return examination()

    doctor = SelfDoctor(examine)
    with caplog.at_level(logging.WARNING):
        doctor.trouble()
        await settled(doctor)
    assert "finds nothing wrong here" in caplog.text
    assert "homeserver doctor" in doctor.trouble()
    await doctor.stop()


async def test_it_can_be_stopped_while_it_looks() -> None:
    async def examine() -> Examination:
        await asyncio.sleep(60)
        return examination()

    doctor = SelfDoctor(examine)
    doctor.trouble()
    await asyncio.sleep(0)
    await doctor.stop()


async def test_a_401_names_our_trouble(world: World) -> None:
    world.dns.add("matrix.example", "A", world.address(1))
    peer = await world.peer("matrix.example", port=8001)
    refusal = {"errcode": "M_UNAUTHORIZED", "error": "no"}
    for path in ("/_matrix/federation/v1/query/profile", "/_matrix/federation/v1/version"):
        peer.answer("GET", path, refusal, status=401)
    client = world.client()
    client._own_trouble = lambda: "nobody reaches us"
    with pytest.raises(FederationError) as caught:
        await query_profile(client, "matrix.example:8001", "@a:matrix.example:8001")
    assert caught.value.reason.endswith("M_UNAUTHORIZED: no; nobody reaches us")
    assert caught.value.whose_turn == "this server's operator"
    with pytest.raises(FederationError) as caught:
        await get_version(client, "matrix.example:8001")  # which is not signed
    assert "nobody reaches us" not in caught.value.reason


@pytest.mark.parametrize(
    ("stage", "status", "turn"),
    [
        ("dns", None, "the operator of theirs.example"),
        ("tls", None, "the operator of theirs.example"),
        ("timeout", None, "the operator of theirs.example"),
        ("http", 502, "the operator of theirs.example"),
        ("http", 401, "this server's operator"),
        ("blocked", None, "this server's operator"),
        ("http", 403, ""),
        ("http", 404, ""),
    ],
)
def test_whose_turn_it_is(stage: str, status: int | None, turn: str) -> None:
    error = FederationError("theirs.example", stage, "why", status=status)  # type: ignore[arg-type]
    assert error.whose_turn == turn
