"""Transcripts: devices.

Spec: https://spec.matrix.org/v1.19/client-server-api/#device-management
"""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.services.confirmation import Confirmation
from homeserver.services.last_seen import LastSeen
from tests.support.client import Client

from .conftest import Server, StartServer

DEVICES = "/_matrix/client/v3/devices"
DELETE = "/_matrix/client/v3/delete_devices"
LOGIN = "/_matrix/client/v3/login"
WHOAMI = "/_matrix/client/v3/account/whoami"
PASSWORD = {"type": "m.login.password", "password": "the password"}
IDENTIFIED = {**PASSWORD, "identifier": {"type": "m.id.user", "user": "alice"}}


async def log_in(server: Server, device_id: str, name: str | None = None, user: str = "alice") -> Client:
    body = {"type": "m.login.password", "user": user, "password": "the password", "device_id": device_id}
    answer = (await server.client.post(LOGIN, {**body, "initial_device_display_name": name})).ok()
    return server.client.with_token(answer["access_token"], answer["user_id"], device_id)


@pytest.fixture
async def phone(server: Server) -> Client:
    """Alice's only device."""
    await (await server.user("alice")).post("/_matrix/client/v3/logout")
    return await log_in(server, "PHONE", "Phone")


async def listed(client: Client) -> dict[str, Any]:
    return {device["device_id"]: device for device in (await client.get(DEVICES)).ok()["devices"]}


async def test_devices_are_listed_with_when_they_were_seen(server: Server, phone: Client) -> None:
    await log_in(server, "TABLET")
    now = server.clock.now_ms()
    seen = {"last_seen_ip": "127.0.0.1", "last_seen_ts": now}
    expected = {
        "PHONE": {"device_id": "PHONE", "display_name": "Phone", **seen},
        "TABLET": {"device_id": "TABLET", **seen},  # it has logged in, no more
    }
    assert await listed(phone) == expected
    assert (await phone.get(f"{DEVICES}/PHONE")).ok() == expected["PHONE"]
    assert (await phone.get(f"{DEVICES}/TABLET")).ok() == expected["TABLET"]
    (await phone.get(f"{DEVICES}/LAPTOP")).refused(404, "M_NOT_FOUND")
    # What is not written yet is told too; and what is written stays.
    await server.service(LastSeen).write()
    server.clock.seconds += 10
    tablet = await log_in(server, "TABLET")
    assert (await listed(tablet))["PHONE"] == expected["PHONE"]


async def test_a_device_gets_another_name(server: Server, phone: Client) -> None:
    assert (await phone.put(f"{DEVICES}/PHONE", {"display_name": "Old phone"})).ok() == {}
    assert (await phone.put(f"{DEVICES}/PHONE", {})).ok() == {}
    assert (await listed(phone))["PHONE"]["display_name"] == "Old phone"
    (await phone.put(f"{DEVICES}/PHONE", {"display_name": "x" * 101})).refused(400, "M_TOO_LARGE")
    (await phone.put(f"{DEVICES}/PHONE", {"display_name": "a\0"})).refused(400, "M_INVALID_PARAM")
    (await phone.put(f"{DEVICES}/PHONE", {"display_name": 1})).refused(400, "M_BAD_JSON")
    for body in ({}, {"display_name": "x"}):
        (await phone.put(f"{DEVICES}/LAPTOP", body)).refused(404, "M_NOT_FOUND")
    bob = await server.user("bob")
    (await bob.put(f"{DEVICES}/PHONE", {"display_name": "x"})).refused(404, "M_NOT_FOUND")


@pytest.mark.parametrize("auth", [PASSWORD, IDENTIFIED, {**PASSWORD, "user": "@alice:ours.test"}])
async def test_a_device_is_deleted_with_the_password(
    server: Server, phone: Client, auth: dict[str, Any]
) -> None:
    tablet = await log_in(server, "TABLET")
    answer = await phone.delete(f"{DEVICES}/TABLET")
    assert answer.status == 401 and answer.body["flows"] == [{"stages": ["m.login.password"]}]
    session = {"session": answer.body["session"]}
    wrong = await phone.delete(f"{DEVICES}/TABLET", body={"auth": {**auth, **session, "password": "wrong"}})
    assert wrong.refused(401, "M_FORBIDDEN")["session"] == answer.body["session"]
    (await tablet.get(WHOAMI)).ok()
    assert (await phone.delete(f"{DEVICES}/TABLET", body={"auth": {**auth, **session}})).ok() == {}
    (await tablet.get(WHOAMI)).refused(401, "M_UNKNOWN_TOKEN")
    assert (await listed(phone)).keys() == {"PHONE"}
    # "had been removed previously"
    assert (await phone.delete(f"{DEVICES}/TABLET", body={"auth": auth})).ok() == {}


async def test_a_session_is_good_for_the_devices_it_was_for(server: Server, phone: Client) -> None:
    for device_id in ("A", "B"):
        await log_in(server, device_id)
    session = (await phone.delete(f"{DEVICES}/A")).body["session"]
    (await phone.delete(f"{DEVICES}/A", body={"auth": {**PASSWORD, "session": session}})).ok()
    # It is done: neither again nor for another device.
    for path in ("A", "B"):
        answer = await phone.delete(f"{DEVICES}/{path}", body={"auth": {"session": session}})
        assert answer.status == 401 and answer.body["session"] != session
    session = (await phone.post(DELETE, {"devices": ["B"]})).body["session"]
    answer = await phone.post(DELETE, {"devices": ["PHONE"], "auth": {"session": session}})
    assert answer.status == 401 and "completed" not in answer.body


async def test_several_devices_are_deleted(server: Server, phone: Client) -> None:
    for device_id in ("A", "B", "C"):
        await log_in(server, device_id)
    assert (await phone.post(DELETE, {"devices": ["A", "B"]})).status == 401
    wanted = {"devices": ["A", "B", "NONE", "\0"], "auth": PASSWORD}
    assert (await phone.post(DELETE, wanted)).ok() == {}
    assert (await listed(phone)).keys() == {"C", "PHONE"}
    assert (await phone.post(DELETE, {"devices": [], "auth": PASSWORD})).ok() == {}
    for wrong in ({}, {"devices": "A"}, {"devices": [1]}, {"devices": ["x"] * 1001}):
        (await phone.post(DELETE, {**wrong, "auth": PASSWORD})).refused(400, "M_BAD_JSON")


@pytest.mark.parametrize(
    ("auth", "status", "errcode"),
    [
        ({"type": "m.login.password"}, 401, "M_MISSING_PARAM"),
        ({**PASSWORD, "password": 1}, 401, "M_BAD_JSON"),
        ({**PASSWORD, "identifier": {"type": "m.id.user", "user": "bob"}}, 401, "M_FORBIDDEN"),
        ({**PASSWORD, "identifier": {"type": "m.id.user"}}, 401, "M_MISSING_PARAM"),
        ({**PASSWORD, "identifier": {"type": "m.id.thirdparty", "medium": "email"}}, 401, "M_FORBIDDEN"),
        ({**PASSWORD, "medium": "email", "address": "a@b"}, 401, "M_FORBIDDEN"),
        ({**PASSWORD, "identifier": {"type": "m.id.new"}}, 401, "M_BAD_JSON"),
        ({"type": "m.login.dummy"}, 401, "M_UNRECOGNIZED"),
        ("secret", 400, "M_BAD_JSON"),
    ],
)
async def test_what_is_no_authentication(
    server: Server, phone: Client, auth: Any, status: int, errcode: str
) -> None:
    await server.user("bob")
    (await phone.delete(f"{DEVICES}/PHONE", body={"auth": auth})).refused(status, errcode)
    assert "PHONE" in await listed(phone)


async def test_who_has_no_password_cannot_confirm(server: Server) -> None:
    carol = await server.user("carol", None)
    (await carol.delete(f"{DEVICES}/{carol.device_id}")).refused(403, "M_FORBIDDEN")


async def test_one_may_delete_the_device_that_asks(server: Server, phone: Client) -> None:
    (await phone.delete(f"{DEVICES}/PHONE", body={"auth": PASSWORD})).ok()
    (await phone.get(WHOAMI)).refused(401, "M_UNKNOWN_TOKEN")


async def with_timeout(start_server: StartServer, timeout: str) -> tuple[Server, Client]:
    """A server where confirmations are good for more, and the device PHONE of alice, who has others too."""
    server = await start_server(ui_auth={"session_timeout": timeout})
    await server.user("alice")
    for name in ("A", "B", "C", "D"):
        await log_in(server, name)
    return server, await log_in(server, "PHONE")


async def test_a_confirmation_is_good_for_more_where_that_is_set(start_server: StartServer) -> None:
    server, phone = await with_timeout(start_server, "15s")
    tablet = await log_in(server, "TABLET")
    assert (await phone.post(DELETE, {"devices": ["A"]})).status == 401, "a log-in confirms nothing"
    (await phone.post(DELETE, {"devices": ["A"], "auth": IDENTIFIED})).ok()
    server.clock.seconds += 14
    (await phone.post(DELETE, {"devices": ["B"]})).ok()
    (await phone.request("DELETE", f"{DEVICES}/C", {})).ok()
    assert {"A", "B", "C"}.isdisjoint(await listed(phone))
    # Only the same session, only what is not dangerous, and only for so long: nothing prolongs it.
    assert (await tablet.post(DELETE, {"devices": ["D"]})).status == 401
    for path, body in (("password", {"new_password": "another"}), ("deactivate", {})):
        assert (await phone.post(f"/_matrix/client/v3/account/{path}", body)).status == 401, path
    server.clock.seconds += 1
    assert (await phone.post(DELETE, {"devices": ["D"]})).status == 401


async def test_a_confirmation_goes_with_its_session(start_server: StartServer) -> None:
    server, phone = await with_timeout(start_server, "10m")
    (await phone.post(DELETE, {"devices": ["A"], "auth": IDENTIFIED})).ok()
    again = await log_in(server, "PHONE")
    assert (await again.post(DELETE, {"devices": ["B"]})).status == 401


async def test_without_it_each_is_confirmed(server: Server, phone: Client) -> None:
    await log_in(server, "A")
    (await phone.post(DELETE, {"devices": [], "auth": PASSWORD})).ok()
    assert (await phone.post(DELETE, {"devices": ["A"]})).status == 401


async def test_old_confirmations_are_forgotten(start_server: StartServer) -> None:
    server, phone = await with_timeout(start_server, "15s")
    tablet = await log_in(server, "TABLET")
    (await phone.post(DELETE, {"devices": ["A"], "auth": IDENTIFIED})).ok()
    server.clock.seconds += 15
    body = {"new_password": "another", "logout_devices": False, "auth": IDENTIFIED}
    (await tablet.post("/_matrix/client/v3/account/password", body)).ok()
    assert len(server.service(Confirmation)._confirmed_ms) == 1
