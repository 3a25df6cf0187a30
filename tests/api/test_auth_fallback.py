"""Transcripts: stages of an authentication that are completed in a browser.

Spec: https://spec.matrix.org/v1.19/client-server-api/#fallback
"""

from __future__ import annotations

import re
from urllib.parse import urlencode

from tests.support.client import Answer

from .conftest import Server, StartServer

REGISTER = "/_matrix/client/v3/register"
DEVICES = "/_matrix/client/v3/devices"
ALICE = {"username": "alice", "password": "wonderland"}


def path(stage: str, session: str | None = None) -> str:
    return f"/_matrix/client/v3/auth/{stage}/fallback/web" + (
        "" if session is None else f"?session={session}"
    )


async def submit(server: Server, stage: str, **fields: str) -> Answer:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return await server.client.post(path(stage), content=urlencode(fields).encode(), headers=headers)


def shown(answer: Answer, status: int = 200) -> str:
    """The page, which may load nothing from elsewhere."""
    assert answer.status == status, answer.content
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    html = answer.content.decode()
    nonce = re.search(r"script-src 'nonce-([^']+)'", policy)
    assert nonce is not None
    for tag in re.findall(r"<(?:script|style)[^>]*>", html):
        assert f'nonce="{nonce[1]}"' in tag
    return html


def is_done(answer: Answer) -> bool:
    html = shown(answer)
    return "window.onAuthDone();" in html and 'window.opener.postMessage("authDone", "*");' in html


async def test_a_stage_is_completed_in_the_browser(server: Server) -> None:
    session = (await server.client.post(REGISTER, ALICE)).body["session"]
    html = shown(await server.client.get(path("m.login.dummy", session)))
    assert '<form method="post">' in html and f'name="session" value="{session}"' in html
    assert is_done(await submit(server, "m.login.dummy", session=session))
    assert is_done(await server.client.get(path("m.login.dummy", session)))
    assert is_done(await submit(server, "m.login.dummy", session=session))
    # "it should resubmit the request with an auth dict with just the session ID"
    answer = await server.client.post(REGISTER, {**ALICE, "auth": {"session": session}})
    assert answer.ok()["user_id"] == "@alice:ours.test"
    assert "This did not work" in shown(await server.client.get(path("m.login.dummy", session)), 404)


async def test_the_password_in_the_browser(server: Server) -> None:
    alice = await server.user("alice")
    session = (await alice.delete(f"{DEVICES}/{alice.device_id}")).body["session"]
    html = shown(await server.client.get(path("m.login.password", session)))
    assert 'name="user"' in html and 'type="password"' in html
    wrong = await submit(server, "m.login.password", session=session, user="alice", password="<b>wrong")
    html = shown(wrong, 401)
    assert "Invalid username or password" in html and 'value="alice"' in html and "wrong" not in html
    html = shown(await submit(server, "m.login.password", session=session, user='"><script>'), 401)
    assert "<script>" not in html and "&#34;&gt;&lt;script&gt;" in html
    done = await submit(server, "m.login.password", session=session, user="alice", password="the password")
    assert is_done(done)
    (await alice.delete(f"{DEVICES}/{alice.device_id}", body={"auth": {"session": session}})).ok()


async def test_the_registration_token_in_the_browser(start_server: StartServer) -> None:
    server = await start_server(registration_requires_token=True)
    root = await server.user("root", is_admin=True)
    made = {"token": "abcd", "uses_allowed": 1}
    (await root.post("/_synapse/admin/v1/registration_tokens/new", made)).ok()
    stage = "m.login.registration_token"
    session = (await server.client.post(REGISTER, ALICE)).body["session"]
    assert "Invalid registration token" in shown(await submit(server, stage, session=session, token="x"), 401)
    assert is_done(await submit(server, stage, session=session, token="abcd"))
    (await server.client.post(REGISTER, {**ALICE, "auth": {"session": session}})).ok()


async def test_too_many_tries(start_server: StartServer) -> None:
    server = await start_server(
        registration_requires_token=True,
        rc_registration_token_validity={"per_second": 0.1, "burst_count": 1},
    )
    session = (await server.client.post(REGISTER, ALICE)).body["session"]
    stage = "m.login.registration_token"
    shown(await submit(server, stage, session=session, token="x"), 401)
    assert "Too many" in shown(await submit(server, stage, session=session, token="x"), 429)


async def test_what_is_no_stage_of_a_session(server: Server) -> None:
    session = (await server.client.post(REGISTER, ALICE)).body["session"]
    for stage in ("m.login.password", "m.login.sso", "%3Cb%3E"):
        shown(await server.client.get(path(stage, session)), 404)
        shown(await submit(server, stage, session=session), 404)
    shown(await server.client.get(path("m.login.dummy", "unknown")), 404)
    shown(await submit(server, "m.login.dummy", session="unknown"), 404)
    shown(await submit(server, "m.login.dummy"), 400)
    shown(await server.client.post(path("m.login.dummy"), content=b"session=%ff"), 400)
    (await server.client.get(path("m.login.dummy"))).refused(400, "M_MISSING_PARAM")
    server.clock.seconds += 3600
    shown(await server.client.get(path("m.login.dummy", session)), 404)
