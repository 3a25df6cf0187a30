"""What proxies do to requests is recognised, from both sides: what was sent is known, or only what arrived."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

import pytest
from signedjson.key import generate_signing_key

from homeserver.core.canonical_json import encode_canonical
from homeserver.core.signing import key_id_of
from homeserver.federation.authentication import XMatrix, authorization_header, parse_authorization
from homeserver.federation.culprits import culprit
from homeserver.federation.rewrites import as_sent, compare_targets

KEY = generate_signing_key("a_1")
JOIN = "/_matrix/federation/v1/make_join/%21room%3Aexample.org/%40user%3Aexample.org?ver=1&ver=12"
SLASH = "/_matrix/federation/v1/event_auth/%21room%3Aexample.org/%24a%2Fb%2Fc"
SYNAPSE = "/_matrix/federation/v2/send_join/!room:example.org/$event"
QUERY = "/_matrix/federation/v1/query/directory?room_alias=%23a%3Aexample.org"
DOUBLE = "/_matrix/federation/v1/backfill/%21a%2525b%3Aexample.org?limit=1"


def path(function: Callable[[str], str]) -> Callable[[str], str]:
    def change(target: str) -> str:
        before, mark, query = target.partition("?")
        return function(before) + mark + query

    return change


REWRITES: dict[str, tuple[str, str, Callable[[str], str]]] = {
    "the whole path decoded": (JOIN, "path-decoded", path(unquote)),
    "slashes in an ID decoded": (SLASH, "path-decoded", path(unquote)),
    "only slashes decoded": (SLASH, "path-decoded", path(lambda each: each.replace("%2F", "/"))),
    "only sigils decoded": (JOIN, "path-decoded", path(lambda each: each.replace("%21", "!").replace("%40", "@"))),
    "a path encoded that was not": (SYNAPSE, "path-decoded", path(lambda each: each.replace("!", "%21").replace("$", "%24"))),
    "encoded twice": (JOIN, "path-encoded-twice", path(lambda each: each.replace("%", "%25"))),
    "prefix stripped": (JOIN, "prefix-stripped", path(lambda each: each.removeprefix("/_matrix"))),
    "a longer prefix stripped": (JOIN, "prefix-stripped", path(lambda each: each.removeprefix("/_matrix/federation"))),
    "prefix added": (JOIN, "prefix-added", path(lambda each: "/matrix" + each)),
    "a slash added": (JOIN, "prefix-added", path(lambda each: "/" + each)),
    "query reordered": (JOIN, "query-reordered", lambda each: each.replace("ver=1&ver=12", "ver=12&ver=1")),
    "query decoded": (QUERY, "query-decoded", lambda each: each.replace("%3A", ":")),
}  # fmt: skip


@pytest.mark.parametrize("name", REWRITES)
def test_what_was_done_is_named(name: str) -> None:
    sent, code, change = REWRITES[name]
    assert [each.code for each in compare_targets(sent, change(sent))] == [code]


@pytest.mark.parametrize("name", REWRITES)
def test_what_was_sent_is_found_by_its_signature(name: str) -> None:
    sent, code, change = REWRITES[name]
    found = culprit(header(sent, "PUT", {"a": "ü"}), "PUT", change(sent), {"a": "ü"}, KEY.verify_key)
    assert found is not None
    assert (found[0].code, found[1]) == (code, sent)
    assert found[0].remedy


@pytest.mark.parametrize(
    ("sent", "arrived", "code"),
    [
        (("PUT", {}), ("PUT", None), "body-lost"),
        (("GET", None), ("GET", {"a": 1}), "body-added"),
        (("POST", {"a": 1}), ("PUT", {"a": 1}), "method-changed"),
    ],
)
def test_bodies_and_methods(sent: tuple[str, object], arrived: tuple[str, object], code: str) -> None:
    found = culprit(header(JOIN, *sent), arrived[0], JOIN, arrived[1], KEY.verify_key)
    assert found is not None and found[0].code == code


def test_a_forged_request_has_no_culprit() -> None:
    other = generate_signing_key("a_1")
    assert culprit(header(JOIN, "GET", None), "GET", JOIN, None, other.verify_key) is None
    assert culprit(header(JOIN, "PUT", {"a": 1}), "PUT", JOIN, {"a": 2}, KEY.verify_key) is None


def test_a_large_body_is_not_tried_again() -> None:
    body = {"a": "x" * 300_000}
    assert culprit(header(JOIN, "PUT", body), "PUT", unquote(JOIN), body, KEY.verify_key) is None


def test_nothing_was_done() -> None:
    assert compare_targets(JOIN, JOIN) == []
    assert JOIN not in [target for _, target in as_sent(JOIN)]


def test_lost_queries_and_other_changes_are_named_too() -> None:
    assert [each.code for each in compare_targets(JOIN, JOIN.partition("?")[0])] == ["query-lost"]
    assert [each.code for each in compare_targets(JOIN, "/index.php")] == ["path-changed", "query-lost"]
    assert [each.code for each in compare_targets("/a//b", "/a/b")] == ["slashes-merged"]


def header(target: str, method: str, content: object) -> XMatrix:
    body = None if content is None else encode_canonical(content)  # type: ignore[arg-type]
    text = authorization_header(method, target, "theirs.example", "ours.example", body, KEY)
    parsed = parse_authorization(text)
    assert parsed.key_id == key_id_of(KEY)
    return parsed
