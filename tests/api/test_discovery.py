"""Transcripts: versions, well-known documents, capabilities."""

from __future__ import annotations

from homeserver.client_api import ENDPOINTS
from homeserver.core.room_versions import ROOM_VERSIONS

from .conftest import Server, StartServer

CLIENT = "/.well-known/matrix/client"
SERVER = "/.well-known/matrix/server"
SUPPORT = "/.well-known/matrix/support"
CAPABILITIES = "/_matrix/client/v3/capabilities"
VERSIONS = "/_matrix/client/versions"


async def test_versions(server: Server) -> None:
    answer = (await server.client.get(VERSIONS)).ok()
    # v1.11 means media behind authentication: not before media are served.
    assert answer["versions"] == ["r0.6.1", *(f"v1.{minor}" for minor in range(1, 11))]
    paths = [path for served in ENDPOINTS for path in served.paths]
    for feature, enabled in answer["unstable_features"].items():
        proposal = feature.removesuffix(".stable")
        assert enabled is True and any(f"/unstable/{proposal}/" in path for path in paths), feature
    alice = await server.user("alice")
    assert (await alice.get(VERSIONS)).ok() == answer
    (await server.client.with_token("wrong").get(VERSIONS)).refused(401, "M_UNKNOWN_TOKEN")


async def test_where_clients_find_the_server(start_server: StartServer) -> None:
    server = await start_server(
        public_baseurl="https://matrix.ours.test/",
        extra_well_known_client_content={"org.example.extra": {"a": 1}},
    )
    answer = await server.client.get(CLIENT)
    assert answer.ok() == {
        "m.homeserver": {"base_url": "https://matrix.ours.test/"},
        "org.example.extra": {"a": 1},
    }
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Content-Type"] == "application/json"


async def test_where_servers_find_the_server(start_server: StartServer) -> None:
    server = await start_server(server_name="ours.test:8448", serve_server_wellknown=True)
    assert (await server.client.get(SERVER)).ok() == {"m.server": "ours.test:443"}


async def test_no_delegation_unless_wanted(server: Server) -> None:
    (await server.client.get(SERVER)).refused(404, "M_NOT_FOUND")


async def test_delegation_of_an_ipv6_literal(start_server: StartServer) -> None:
    server = await start_server(server_name="[2001:db8::1]", serve_server_wellknown=True)
    assert (await server.client.get(SERVER)).ok() == {"m.server": "[2001:db8::1]:443"}


async def test_support(start_server: StartServer) -> None:
    contact = {"role": "m.role.security", "email_address": "security@ours.test"}
    server = await start_server(
        well_known_support={"contacts": [contact], "support_page": "https://ours.test/help"}
    )
    answer = await server.client.get(SUPPORT)
    assert answer.ok() == {"contacts": [contact], "support_page": "https://ours.test/help"}


async def test_no_support(server: Server) -> None:
    (await server.client.get(SUPPORT)).refused(404, "M_NOT_FOUND")


async def test_capabilities(start_server: StartServer) -> None:
    server = await start_server(default_room_version="11")
    (await server.client.get(CAPABILITIES)).refused(401, "M_MISSING_TOKEN")
    alice = await server.user("alice")
    capabilities = (await alice.get(CAPABILITIES)).ok()["capabilities"]
    assert capabilities["m.room_versions"] == {
        "default": "11",
        "available": dict.fromkeys(ROOM_VERSIONS, "stable"),
    }
    assert capabilities["m.profile_fields"] == {"enabled": True}
    assert capabilities["m.set_displayname"] == capabilities["m.set_avatar_url"] == {"enabled": True}
    for not_served in ("m.3pid_changes", "m.get_login_token"):
        assert capabilities[not_served] == {"enabled": False}
