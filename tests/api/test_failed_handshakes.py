"""A join, a knock or an invite that fails says which servers were tried, how far each got and whose turn it is; so does the log."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from tests.support.certificates import Authority
from tests.support.client import Answer, Client
from tests.support.federation_peer import SUBNET, FederationPeer, error
from tests.support.whole import DEAD_SERVER, V3, WholeServer, create_room, membership

NOWHERE = "nowhere.invalid:8448"
ELSEWHERE = "127.87.255.1:8448"  # of no subnet that may be connected to


class Lapsed(Authority):
    """An authority that nobody has asked for renewal."""

    def server_context(self, *names: str, expired: bool = True) -> ssl.SSLContext:
        """TLS of a server with a certificate that has expired."""
        return super().server_context(*names, expired=expired)


@pytest.fixture
async def stranger(tmp_path: Path) -> AsyncIterator[FederationPeer]:
    """A server whose certificate has expired."""
    async with FederationPeer(Lapsed(tmp_path), number=2) as server:
        yield server


@pytest.fixture
async def alice(ours: WholeServer) -> Client:
    """A user of ours."""
    return await ours.register("alice")


def page(status: int) -> Callable[[Any], web.Response]:
    """A proxy's answer."""
    return lambda _: web.Response(status=status, text="<html>", content_type="text/html")


def refusal(status: int, errcode: str) -> Callable[[Any], web.Response]:
    """A server's answer."""
    return lambda _: error(status, errcode, "not today")


async def join(client: Client, room_id: str, *via: str) -> Answer:
    query = "&".join(f"via={each}" for each in via)
    return await client.post(f"{V3}/join/{quote(room_id)}?{query}", {})


@pytest.mark.parametrize(
    ("server", "how_far", "turn"),
    [
        (NOWHERE, "DNS", f"the operator of {NOWHERE}"),
        (DEAD_SERVER, "connecting", f"the operator of {DEAD_SERVER}"),
        (ELSEWHERE, "this server's settings", "this server's operator"),
        ("stranger", "TLS", "the operator of stranger"),
    ],
    ids=["dns", "connecting", "settings", "tls"],  # the addresses differ in every process
)
@pytest.mark.parametrize("verb", ["join", "knock"])
async def test_servers_that_are_not_reached(
    alice: Client,
    stranger: FederationPeer,
    caplog: pytest.LogCaptureFixture,
    verb: str,
    server: str,
    how_far: str,
    turn: str,
) -> None:
    server, turn = (each.replace("stranger", stranger.server_name) for each in (server, turn))
    path = f"{V3}/{verb}/{quote('!room:nobody.invalid')}?via={server}"
    told = (await alice.post(path, {})).refused(502, "M_UNKNOWN")
    explanation = f"(failed at {how_far}; for {turn} to mend)"
    assert f"{server}: make_{verb}: " in told["error"] and explanation in told["error"]
    assert any(server in line and explanation in line for line in caplog.messages)


@pytest.mark.parametrize(
    ("endpoint", "answer", "status", "explanation"),
    [
        ("make_join", page(502), 502, "failed at HTTP; for the operator of {peer} to mend"),
        ("make_join", refusal(401, "M_UNAUTHORIZED"), 502, "failed at signature; for this server's operator to mend"),
        ("make_join", refusal(403, "M_FORBIDDEN"), 403, "failed at auth"),
        ("send_join", refusal(403, "M_FORBIDDEN"), 403, "failed at auth"),
        ("send_join", page(200), 502, "failed at checking the answer; for the operator of {peer} to mend"),
        ("send_join", lambda _: {}, 502, "failed at checking the answer; for the operator of {peer} to mend"),
    ],
)  # fmt: skip
async def test_servers_that_answer_a_join_so(
    alice: Client,
    peer: FederationPeer,
    endpoint: str,
    answer: Callable[[Any], Any],
    status: int,
    explanation: str,
) -> None:
    room = peer.room()
    peer.answers[endpoint] = answer
    told = await join(alice, room.room_id, peer.server_name)
    assert told.status == status
    message = told.body["error"]
    assert f"{peer.server_name}: {endpoint}: " in message
    assert f"({explanation.format(peer=peer.server_name)})" in message


async def test_every_server_that_was_tried_is_named(alice: Client, peer: FederationPeer) -> None:
    room = peer.room()
    peer.answers["make_join"] = page(503)
    told = (await join(alice, room.room_id, NOWHERE, DEAD_SERVER, peer.server_name)).refused(502, "M_UNKNOWN")
    for server, how_far in ((NOWHERE, "DNS"), (DEAD_SERVER, "connecting"), (peer.server_name, "HTTP")):
        assert f"{server}: make_join: " in told["error"]
        assert f"(failed at {how_far}; for the operator of {server} to mend)" in told["error"]


async def test_a_401_says_what_others_may_not_reach(alice: Client, peer: FederationPeer) -> None:
    room = peer.room()
    peer.answers["make_join"] = refusal(401, "M_UNAUTHORIZED")
    told = (await join(alice, room.room_id, peer.server_name)).refused(502, "M_UNKNOWN")
    assert "cannot fetch this server's keys" in told["error"] and "homeserver doctor" in told["error"]


@pytest.mark.parametrize(
    ("server", "explanation"),
    [
        (NOWHERE, "failed at DNS; for the operator of {} to mend"),
        (DEAD_SERVER, "failed at connecting; for the operator of {} to mend"),
        ("stranger", "failed at TLS; for the operator of {} to mend"),
    ],
    ids=["dns", "connecting", "tls"],
)
async def test_an_invite_to_who_is_not_reached(
    alice: Client,
    stranger: FederationPeer,
    caplog: pytest.LogCaptureFixture,
    server: str,
    explanation: str,
) -> None:
    server = server.replace("stranger", stranger.server_name)
    room_id = await create_room(alice)
    told = await alice.post(f"{V3}/rooms/{quote(room_id)}/invite", {"user_id": f"@bob:{server}"})
    message = told.refused(502, "M_UNKNOWN")["error"]
    assert f"({explanation.format(server)})" in message
    assert any(f"@bob:{server} was not invited" in line and "failed at" in line for line in caplog.messages)


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (page(502), 502, "failed at HTTP; for the operator of {peer} to mend"),
        (refusal(401, "M_UNAUTHORIZED"), 502, "failed at signature; for this server's operator to mend"),
        (refusal(403, "M_FORBIDDEN"), 403, "{peer} refuses the invite"),
    ],
)
async def test_an_invite_that_is_answered_so(
    alice: Client, peer: FederationPeer, answer: Callable[[Any], Any], status: int, words: str
) -> None:
    room_id = await create_room(alice)
    peer.answers["invite"] = answer
    told = await alice.post(f"{V3}/rooms/{quote(room_id)}/invite", {"user_id": peer.user("bob")})
    assert told.status == status and words.format(peer=peer.server_name) in told.body["error"]


async def test_a_leave_of_which_nobody_can_be_told_is_logged(
    ours: WholeServer, alice: Client, peer: FederationPeer, caplog: pytest.LogCaptureFixture
) -> None:
    room = peer.room()
    await peer.invite(ours.server_name, room, ours.user_id("alice"))
    await peer.stop()
    assert (await membership(alice, room.room_id, "leave")).status == 200
    explanation = f"{peer.server_name}: make_leave: "
    assert any(explanation in line and "failed at connecting" in line for line in caplog.messages)


def test_the_dead_server_is_of_the_tests_network() -> None:
    assert DEAD_SERVER.startswith(SUBNET)
