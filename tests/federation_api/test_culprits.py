"""A request that a proxy has changed, or that was meant for another server: the answer and the log say what was done to it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

import pytest
from yarl import URL

from homeserver.core.canonical_json import encode_canonical
from homeserver.federation.authentication import authorization_header
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.queries import query_profile
from tests.support.client import Answer
from tests.support.federation_peer import FederationPeer
from tests.support.whole import WholeServer

PROFILE = "/_matrix/federation/v1/query/profile?field=displayname&user_id="
JOIN = "/_matrix/federation/v1/make_join/%21r%2Fm%3Aa.example/%40u%3Aa.example?ver=1&ver=12"
SEND = "/_matrix/federation/v1/send/1"
BODY = {"origin": "a", "origin_server_ts": 1, "pdus": [], "edus": [], "note": "ü"}


async def sent(
    peer: FederationPeer,
    whole: WholeServer,
    signed: tuple[str, str, Any],
    arrives: tuple[str, str, Any],
    *,
    destination: str = "",
    host: str = "",
) -> Answer:
    """A request that is signed as method, target and body, and arrives as others."""
    body = None if signed[2] is None else encode_canonical(signed[2])
    to = destination or whole.server_name
    header = authorization_header(signed[0], signed[1], peer.server_name, to, body, peer.signing_key)
    session = whole.client.session
    url = URL(f"{whole.base_url}{arrives[1]}", encoded=True)
    headers = {"Authorization": header, "Host": host or whole.server_name}
    async with session.request(arrives[0], url, json=arrives[2], headers=headers) as response:
        return Answer(response.status, await response.json(), await response.read(), dict(response.headers))


# What was signed, what arrives, the refusal, and the words for what was done.
CHANGES: dict[str, tuple[tuple[str, str, Any], tuple[str, str, Any], int, str]] = {
    "decoded path": (("GET", JOIN, None), ("GET", JOIN.replace("%21", "!").replace("%3A", ":"), None), 401, "percent-decoded"),
    "decoded slash": (("GET", JOIN, None), ("GET", JOIN.replace("%2F", "/"), None), 404, "percent-decoded"),
    "reordered query": (("GET", JOIN, None), ("GET", JOIN.replace("ver=1&ver=12", "ver=12&ver=1"), None), 401, "another order"),
    "a slash added": (("PUT", SEND, BODY), ("PUT", "/" + SEND, BODY), 404, "got / in front"),
    "prefix added": (("PUT", SEND, BODY), ("PUT", "/matrix" + SEND, BODY), 404, "got /matrix in front"),
    "prefix stripped": (("PUT", SEND, BODY), ("PUT", SEND.removeprefix("/_matrix"), BODY), 404, "lost its beginning /_matrix"),
    "encoded twice": (("GET", JOIN, None), ("GET", JOIN.replace("%", "%25"), None), 401, "encoded again"),
    "lost body": (("PUT", SEND, {}), ("PUT", SEND, None), 401, "the body was lost"),
    "another method": (("PUT", SEND, BODY), ("GET", SEND, BODY), 405, "another method"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
async def test_what_was_done_to_it(
    whole: WholeServer, peer: FederationPeer, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    signed, arrives, status, words = CHANGES[name]
    errcode = "M_UNAUTHORIZED" if status == 401 else "M_UNRECOGNIZED"
    told = (await sent(peer, whole, signed, arrives)).refused(status, errcode)["error"]
    assert words in told and signed[1] in told
    assert any(words in line and peer.server_name in line for line in caplog.messages)


async def test_nothing_is_said_of_what_nobody_has_signed(whole: WholeServer, peer: FederationPeer) -> None:
    request = ("GET", "/_matrix/federation/v1/no/such/path", None)
    told = (await sent(peer, whole, request, request)).refused(404, "M_UNRECOGNIZED")["error"]
    assert told == "Unrecognized request: there is no /_matrix/federation/v1/no/such/path"


async def test_the_path_is_decoded_altogether(whole: WholeServer, peer: FederationPeer) -> None:
    target = PROFILE + quote(whole.user_id("nobody"), safe="")
    told = await sent(peer, whole, ("GET", target, None), ("GET", unquote(target), None))
    assert "the query was decoded on the way" in told.refused(401, "M_UNAUTHORIZED")["error"]


async def test_a_changed_body_has_no_usual_explanation(whole: WholeServer, peer: FederationPeer) -> None:
    changed = {**BODY, "note": "ue"}
    told = await sent(peer, whole, ("PUT", SEND, BODY), ("PUT", SEND, changed))
    assert (
        "a proxy may have changed the path, the query or the body"
        in told.refused(401, "M_UNAUTHORIZED")["error"]
    )


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (
            "",
            "so the delegation of other.example (.well-known or SRV), or a proxy that changes Host, leads here",
        ),
        ("other.example", "the DNS, the .well-known or the proxy of other.example leads to this server"),
    ],
)
async def test_a_request_for_another_server(
    whole: WholeServer, peer: FederationPeer, caplog: pytest.LogCaptureFixture, host: str, words: str
) -> None:
    request = ("PUT", SEND, BODY)
    refusal = await sent(peer, whole, request, request, destination="other.example", host=host)
    told = refusal.refused(401, "M_UNAUTHORIZED")["error"]
    assert f"signed for 'other.example', this server is {whole.server_name!r}" in told and words in told
    # Nobody is asked for keys because of it; and what may be anybody's word is not in the log.
    assert peer.asked_for("keys") == [] and not any(words in line for line in caplog.messages)

    with pytest.raises(FederationError, match="M_NOT_FOUND"):
        await query_profile(peer.client, whole.server_name, whole.user_id("nobody"), "displayname")
    await sent(peer, whole, request, request, destination="other.example", host=host)
    assert any(words in line and peer.server_name in line for line in caplog.messages)
