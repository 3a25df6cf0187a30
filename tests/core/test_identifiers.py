"""The identifier grammars of the specification's appendices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.identifiers import (
    MxcURI,
    ServerName,
    domain_of,
    is_compliant_user_id,
    is_domain_event_id,
    is_domain_room_id,
    is_hash_event_id,
    is_hash_room_id,
    is_namespaced_id,
    is_opaque_id,
    is_url_safe_hash_event_id,
    is_valid_event_id,
    is_valid_media_id,
    is_valid_mxc,
    is_valid_room_alias,
    is_valid_room_id,
    is_valid_server_name,
    is_valid_user_id,
    localpart_of,
    new_user_id,
    parse_mxc,
    parse_server_name,
    validate_localpart,
)
from tests.core.strategies import QUICK, localparts

HASH = "Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg"
OLD_HASH = "acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("matrix.org", ("matrix.org", None, False)),
        ("matrix.org:8888", ("matrix.org", 8888, False)),
        ("1.2.3.4", ("1.2.3.4", None, True)),
        ("1.2.3.4:1234", ("1.2.3.4", 1234, True)),
        ("[1234:5678::abcd]", ("1234:5678::abcd", None, True)),
        ("[1234:5678::abcd]:5678", ("1234:5678::abcd", 5678, True)),
        ("[::ffff:1.2.3.4]:1", ("::ffff:1.2.3.4", 1, True)),
        ("localhost", ("localhost", None, False)),
        ("MATRIX.org", ("MATRIX.org", None, False)),
        ("1.2.3", ("1.2.3", None, False)),
        ("matrix.org.", ("matrix.org.", None, False)),
        ("a" * 255, ("a" * 255, None, False)),
    ],
)
def test_server_names(name: str, parts: tuple[str, int | None, bool]) -> None:
    assert parse_server_name(name) == ServerName(*parts)
    assert is_valid_server_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":",
        ":80",
        "a:",
        "a:b",
        "a:123456",
        "a:65536",
        "a:-1",
        "a: 1",
        "a:1:2",
        "a_b",
        "a b",
        "a/b",
        "a@b",
        "a\n",
        "a:1\n",
        "é.org",
        "a:١",
        "1.2.3.256",
        "999.1.1.1:80",
        "..",
        ".",
        "a..b",
        ".a",
        "::1",
        "[::1",
        "::1]",
        "[]",
        "[::1]x",
        "[::1]:",
        "[:::]",
        "[1.2.3.4]",
        "[fe80::1%eth0]",
        "[g::1]",
        "a" * 256,
        None,
        1,
        b"matrix.org",
    ],
)
def test_not_server_names(name: object) -> None:
    assert not is_valid_server_name(name)
    if isinstance(name, str):
        with pytest.raises(ValueError, match="invalid server name"):
            parse_server_name(name)


@pytest.mark.parametrize(
    "user_id",
    [
        "@alice:matrix.org",
        "@a:[::1]:80",
        "@a.b_c=d-e/f+g:h",
        "@UPPER:h",
        "@é:h",
        "@:h",
        "@\x01 \n:h",
        "@💬:h",
    ],
)
def test_user_ids_that_must_be_accepted(user_id: str) -> None:
    assert is_valid_user_id(user_id)


@pytest.mark.parametrize(
    "user_id",
    [
        "",
        "@",
        "alice:h",
        "@alice",
        "@alice:",
        "@al\0ice:h",
        "#alice:h",
        "@a:b c",
        "@a:b:c",
        "@\ud800:h",
        None,
        5,
    ],
)
def test_not_user_ids(user_id: object) -> None:
    assert not is_valid_user_id(user_id)


def test_the_length_of_identifiers_is_counted_in_bytes() -> None:
    assert is_valid_user_id("@" + "a" * 252 + ":h")
    assert not is_valid_user_id("@" + "a" * 253 + ":h")
    assert is_valid_user_id("@" + "é" * 126 + ":h")
    assert not is_valid_user_id("@" + "é" * 127 + ":h")
    assert is_valid_room_alias("#" + "é" * 126 + ":h")
    assert not is_valid_room_alias("#" + "é" * 127 + ":h")
    assert is_domain_room_id("!" + "a" * 252 + ":h")
    assert not is_domain_room_id("!" + "a" * 253 + ":h")
    assert is_valid_event_id("$" + "a" * 254)
    assert not is_valid_event_id("$" + "a" * 255)


@pytest.mark.parametrize(
    ("user_id", "compliant"),
    [
        ("@alice:h", True),
        ("@A~!:h", True),
        ("@:h", False),
        ("@a b:h", False),
        ("@é:h", False),
        ("alice", False),
    ],
)
def test_compliant_user_ids(user_id: str, compliant: bool) -> None:
    assert is_compliant_user_id(user_id) is compliant


@QUICK
@given(localparts)
def test_our_new_user_ids_are_valid_and_compliant(localpart: str) -> None:
    validate_localpart(localpart)
    user_id = new_user_id(localpart, "matrix.org:8448")
    assert is_valid_user_id(user_id)
    assert is_compliant_user_id(user_id)
    assert localpart_of(user_id) == localpart
    assert domain_of(user_id) == "matrix.org:8448"


@pytest.mark.parametrize("localpart", ["", "Alice", "al ice", "a:b", "a@b", "é", "a*", "a\n", "a" * 256])
def test_localparts_we_do_not_create(localpart: str) -> None:
    with pytest.raises(ValueError, match="a user name"):
        validate_localpart(localpart)


def test_a_new_user_id_must_fit_with_its_server_name() -> None:
    assert len(new_user_id("a" * 243, "matrix.org")) == 255
    with pytest.raises(ValueError, match="longer than 255 bytes"):
        new_user_id("a" * 244, "matrix.org")


def test_domains() -> None:
    assert domain_of("@a:[::1]:8448") == "[::1]:8448"
    assert domain_of("!a:b") == domain_of("$a:b") == domain_of("#a:b") == "b"
    for without in ("!" + HASH, "$" + HASH, "@a:", ""):
        with pytest.raises(ValueError, match="has no domain"):
            domain_of(without)


@pytest.mark.parametrize(
    ("room_id", "with_domain", "as_hash"),
    [
        ("!abc:matrix.org", True, False),
        ("!\x01é/:matrix.org", True, False),
        ("!" + HASH, False, True),
        ("!" + HASH + ":matrix.org", True, False),
        ("!" + OLD_HASH, False, False),
        ("!" + HASH[:-1], False, False),
        ("!" + HASH + "\n", False, False),
        ("!" + HASH + "=", False, False),
        ("!abc", False, False),
        ("!a\0:h", False, False),
        ("$" + HASH, False, False),
        ("!", False, False),
        (None, False, False),
    ],
)
def test_room_ids(room_id: object, with_domain: bool, as_hash: bool) -> None:
    assert is_domain_room_id(room_id) is with_domain
    assert is_hash_room_id(room_id) is as_hash
    assert is_valid_room_id(room_id) is (with_domain or as_hash)


@pytest.mark.parametrize(
    ("event_id", "with_domain", "as_hash", "as_url_safe_hash", "valid"),
    [
        ("$a:matrix.org", True, False, False, True),
        ("$" + OLD_HASH, False, True, False, True),
        ("$" + HASH, False, False, True, True),
        ("$anything", False, False, False, True),
        ("$:matrix.org", False, False, False, True),
        ("$", False, False, False, False),
        ("$a\0b", False, False, False, False),
        ("$\udc00", False, False, False, False),
        ("a:matrix.org", False, False, False, False),
        (["$a"], False, False, False, False),
    ],
)
def test_event_ids(
    event_id: object, with_domain: bool, as_hash: bool, as_url_safe_hash: bool, valid: bool
) -> None:
    assert is_domain_event_id(event_id) is with_domain
    assert is_hash_event_id(event_id) is as_hash
    assert is_url_safe_hash_event_id(event_id) is as_url_safe_hash
    assert is_valid_event_id(event_id) is valid


@pytest.mark.parametrize(
    ("alias", "valid"),
    [
        ("#room:h", True),
        ("#é x:h", True),
        ("#a\0:h", False),
        ("#a", False),
        ("!a:h", False),
        ("#a:b:c", False),
    ],
)
def test_room_aliases(alias: str, valid: bool) -> None:
    assert is_valid_room_alias(alias) is valid


def test_mxc_uris() -> None:
    assert parse_mxc("mxc://example.org:80/abc_-123") == MxcURI("example.org:80", "abc_-123")
    assert str(parse_mxc("mxc://[::1]/a")) == "mxc://[::1]/a"
    assert is_valid_mxc("mxc://example.org/FHyPlCeYUSFFxlgbQYZmoEoe")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "mxc:",
        "mxc://",
        "mxc://example.org",
        "mxc://example.org/",
        "http://example.org/a",
        "MXC://example.org/a",
        "mxc:///a",
        "mxc://example.org/a/b",
        "mxc://127.0.0.1/../../../some_service/etc/passwd",
        "mxc://../a",
        "mxc://example.org/a?b",
        "mxc://example.org/a\n",
        "mxc://example.org/" + "a" * 256,
        "mxc://ex_ample.org/a",
    ],
)
def test_not_mxc_uris(uri: str) -> None:
    assert not is_valid_mxc(uri)
    with pytest.raises(ValueError, match="is not an mxc URI"):
        parse_mxc(uri)


def test_values_that_are_not_strings_are_not_mxc_uris() -> None:
    assert not is_valid_mxc(None)
    assert not is_valid_media_id(None)


@pytest.mark.parametrize(
    ("identifier", "opaque", "namespaced"),
    [
        ("m.login.password", True, True),
        ("AZaz09-._~", True, False),
        ("1abc", True, False),
        ("", False, False),
        ("a b", False, False),
        ("a" * 255, True, True),
        ("a" * 256, False, False),
        ("a\n", False, False),
        (None, False, False),
    ],
)
def test_opaque_and_namespaced_identifiers(identifier: object, opaque: bool, namespaced: bool) -> None:
    assert is_opaque_id(identifier) is opaque
    assert is_namespaced_id(identifier) is namespaced


@QUICK
@given(st.text(max_size=40) | st.builds(lambda s, t: s + t, st.sampled_from("@!$#"), st.text(max_size=40)))
def test_no_string_makes_a_check_fail(text: str) -> None:
    for check in (is_valid_user_id, is_valid_room_id, is_valid_event_id, is_valid_room_alias, is_valid_mxc):
        assert check(text) in (True, False)
