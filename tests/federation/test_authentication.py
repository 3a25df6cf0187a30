"""The `X-Matrix` header: strict when sent, lenient when read, and what it signs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signedjson.key import generate_signing_key
from signedjson.sign import sign_json

from homeserver.core.canonical_json import encode_canonical
from homeserver.core.signing import key_id_of
from homeserver.federation.authentication import (
    AuthenticationError,
    XMatrix,
    authorization_header,
    parse_authorization,
    request_bytes,
    signed_object,
    verify_request,
)

KEY = generate_signing_key("a_1")
KEYS = {key_id_of(KEY): KEY.verify_key}
URI = "/_matrix/federation/v1/send/1?a=%2F&b"


def test_the_header_is_what_older_servers_can_read() -> None:
    header = authorization_header("PUT", URI, "a.example:8448", "b.example", b"{}", KEY)
    signature = sign_json(
        {"method": "PUT", "uri": URI, "origin": "a.example:8448", "destination": "b.example", "content": {}},
        "a.example:8448",
        KEY,
    )["signatures"]["a.example:8448"]["ed25519:a_1"]
    assert header == (
        f'X-Matrix origin="a.example:8448",destination="b.example",key="ed25519:a_1",sig="{signature}"'
    )


EXPECTED = XMatrix("a.example:8448", "b.example", "ed25519:a_1", "c2ln+/")


@pytest.mark.parametrize(
    "header",
    [
        'X-Matrix origin="a.example:8448",destination="b.example",key="ed25519:a_1",sig="c2ln+/"',
        "X-Matrix origin=a.example:8448,destination=b.example,key=ed25519:a_1,sig=c2ln+/",
        'x-matrix origin="a.example:8448",destination="b.example",key="ed25519:a_1",sig="c2ln+/"',
        'X-Matrix   origin="a.example:8448" , destination="b.example"\t,\tkey="ed25519:a_1", sig="c2ln+/" ',
        'X-Matrix sig="c2ln+/",Key="ed25519:a_1",DESTINATION="b.example",Origin="a.example:8448"',
        'X-Matrix origin="a.\\example:8448",destination="b.example",key="ed25519:\\a_1",sig="c2ln+/"',
        'X-Matrix origin = "a.example:8448",destination = b.example,key="ed25519:a_1",sig="c2ln+/"',
        'X-Matrix foo="a,\\"b",origin=a.example:8448,destination=b.example,key=ed25519:a_1,sig="c2ln+/",bar=',
        'X-Matrix ,origin="a.example:8448",,destination="b.example",key="ed25519:a_1",sig="c2ln+/",',
    ],
)
def test_lenient_forms(header: str) -> None:
    assert parse_authorization(header) == EXPECTED


def test_older_servers_leave_the_destination_out() -> None:
    parsed = parse_authorization("X-Matrix origin=a.example,key=ed25519:1,sig=c2ln")
    assert parsed == XMatrix("a.example", None, "ed25519:1", "c2ln")


def test_an_ipv6_origin_without_quotes() -> None:
    assert parse_authorization("X-Matrix origin=[::1]:8448,key=ed25519:1,sig=a==").origin == "[::1]:8448"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("", "scheme"),
        ("Bearer abc", "scheme"),
        ("X-Matrix", "scheme"),
        ("X-Matrix ", "lacks origin, key, sig"),
        ("X-Matrix origin=a.example,key=ed25519:1", "lacks sig"),
        ('X-Matrix origin="",key=ed25519:1,sig=a', "lacks origin"),
        ("X-Matrix origin=a b,key=ed25519:1,sig=a", "name=value"),
        ('X-Matrix origin="a,key=ed25519:1,sig=a', "name=value"),
        ("X-Matrix origin=a.example;key=ed25519:1;sig=a", "lacks key, sig"),
        ('X-Matrix origin="a/b",key=ed25519:1,sig=a', "not a server name"),
        ("X-Matrix origin=a.example,origin=b.example,key=ed25519:1,sig=a", "more than one origin"),
        ("X-Matrix origin=a.example,key=ed25519:1,sig=" + "a" * 5000, "longer than"),
    ],
)
def test_malformed_headers_are_refused_with_the_reason(header: str, reason: str) -> None:
    with pytest.raises(AuthenticationError, match=reason):
        parse_authorization(header)


@given(st.text(max_size=200))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parse_authorization("X-Matrix " + text)
    except AuthenticationError as error:
        assert error.reason


@given(
    st.text(st.characters(codec="utf-8"), max_size=50).map(lambda text: text or "x"),
    st.text(st.characters(codec="utf-8"), max_size=50).map(lambda text: text or "x"),
)
def test_quoted_values_come_back(key: str, signature: str) -> None:
    def quote(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    parsed = parse_authorization(f"X-Matrix origin=a.example,key={quote(key)},sig={quote(signature)}")
    assert (parsed.key_id, parsed.signature) == (key, signature)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(st.characters(codec="utf-8")), JSON, max_size=4)


@given(st.none() | OBJECTS)
def test_what_is_signed_here_verifies_there(content: dict[str, Any] | None) -> None:
    encoded = None if content is None else encode_canonical(content)
    header = parse_authorization(authorization_header("PUT", URI, "a.example", "b.example", encoded, KEY))
    verify_request(header, "PUT", URI, "b.example", content, KEYS)
    for changed in (
        ("POST", URI, "b.example", content),
        ("PUT", URI + "x", "b.example", content),
        ("PUT", URI, "c.example", content),
        ("PUT", URI, "b.example", {"other": content}),
    ):
        with pytest.raises(AuthenticationError):
            verify_request(header, *changed, KEYS)


@given(OBJECTS)
def test_splicing_the_body_gives_the_canonical_json_of_the_whole(content: dict[str, Any]) -> None:
    whole = encode_canonical(signed_object("PUT", URI, "a.example", "b.example", content))
    assert request_bytes("PUT", URI, "a.example", "b.example", encode_canonical(content)) == whole


def test_a_request_without_destination_verifies_as_it_was_signed() -> None:
    signed = sign_json({"method": "GET", "uri": URI, "origin": "a.example"}, "a.example", KEY)
    signature = signed["signatures"]["a.example"]["ed25519:a_1"]
    verify_request(XMatrix("a.example", None, "ed25519:a_1", signature), "GET", URI, "b.example", None, KEYS)
    with pytest.raises(AuthenticationError, match="does not fit"):
        verify_request(
            XMatrix("a.example", "b.example", "ed25519:a_1", signature), "GET", URI, "b.example", None, KEYS
        )


def test_reasons_of_refusal() -> None:
    header = parse_authorization(authorization_header("GET", URI, "a.example", "b.example", None, KEY))
    with pytest.raises(AuthenticationError, match=r"signed for 'b.example', this server is 'c.example'"):
        verify_request(header, "GET", URI, "c.example", None, KEYS)
    with pytest.raises(AuthenticationError, match="not known"):
        verify_request(header, "GET", URI, "b.example", None, {})
    other = {"ed25519:a_1": generate_signing_key("a_1").verify_key}
    with pytest.raises(AuthenticationError, match="a proxy may have changed"):
        verify_request(header, "GET", URI, "b.example", None, other)
    for signature in ("a", "c2ln", "é"):
        broken = XMatrix(header.origin, header.destination, header.key_id, signature)
        with pytest.raises(AuthenticationError, match=r"base64|does not fit"):
            verify_request(broken, "GET", URI, "b.example", None, KEYS)


def test_a_body_with_floats_verifies() -> None:
    """Room versions before 6 let them into events, so they are in transactions."""
    content = {"pdus": [{"content": {"x": 1.5, "big": 2**60}}]}
    header = authorization_header("PUT", URI, "a.example", "b.example", encode_canonical(content), KEY)
    verify_request(parse_authorization(header), "PUT", URI, "b.example", content, KEYS)
