"""Strategies of what should not be sent: values, texts, JSON and percent-encodings that break servers."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

ODD_TEXTS = (
    "", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "\n", "\r\n\r\n", "\x7f", "\x85", "\u2028", "\u202e", "\ufeff",
    "😀", "é", "e\u0301", "ß", "İ", "ﷺ", "\U0010ffff", "%00", "%", "%zz", "..", "../../etc/passwd", "/", "a/b", "\\",
    "'; DROP TABLE events; --", "{}", "[]", "null", "true", "0", "-1", "1e400", "9" * 30, "9" * 400, "NaN", "*", "?", ".*",
    "@", "!", "$", "#", ":", "@:", "@a", "@a:", "@:b", "!:", "#:", "$:", "@a:b:c", "@a:b:99999", "@a:[::1]", "@a:[::1]:8448",
    "@a:1.2.3.4:0", "@A:b", "@\0:b", "@😀:b", "!a\0:b", "$" + "a" * 43, "!" + "a" * 43, "$" + "é" * 43, "@a b:c", "#a b:c",
    "mxc://a/b", "x" * 255, "x" * 256, "é" * 128, "@" + "x" * 300 + ":b", "@a:" + "x" * 300, "x" * 3000, "m.room.create",
    "m.room.member", "m.room.redaction", "m.room.power_levels", "s1", "t1_1", "t0_-9", "s99999999999999999999", "r-1", "s-1",
)  # fmt: skip
ODD_NUMBERS = (
    0,
    1,
    -1,
    10,
    100,
    2**31,
    2**53,
    2**53 - 1,
    -(2**53),
    2**63 - 1,
    2**63,
    2**64,
    -(2**63) - 1,
    10**400,
)
KEYS = (
    "type", "state_key", "content", "sender", "room_id", "event_id", "membership", "users", "events", "users_default", "ban",
    "state_default", "notifications", "join_rule", "allow", "history_visibility", "creator", "room_version", "m.federate",
    "predecessor", "additional_creators", "type", "alias", "alt_aliases", "name", "topic", "body", "msgtype", "redacts",
    "m.relates_to", "rel_type", "key", "url", "reason", "displayname", "avatar_url", "third_party_invite", "signed", "mxid",
    "token", "signatures", "join_authorised_via_users_server", "deny", "allow_ip_literals", "pinned", "limit", "types",
    "not_types", "rooms", "room", "timeline", "state", "senders", "contains_url", "lazy_load_members", "event_fields",
    "age_ts", "unsigned", "hashes", "sha256", "\0", "", "é", "a.b", "a\\.b",
)  # fmt: skip


def deep(levels: int) -> Any:
    """A list in a list in a list."""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def nested(scalars: st.SearchStrategy[Any], texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Scalars, and lists and objects of them."""
    return scalars | st.recursive(
        scalars,
        lambda children: (
            st.lists(children, max_size=3)
            | st.dictionaries(st.sampled_from(KEYS) | texts, children, max_size=3)
        ),
        max_leaves=6,
    )


odd_texts = st.sampled_from(ODD_TEXTS) | st.text(max_size=12)
values = nested(
    odd_texts | st.sampled_from([*ODD_NUMBERS, None, True, False, 0.5, -0.0, 1e308, 1.0]), odd_texts
) | st.sampled_from([20, 90, 101, 500]).map(deep)

_sound_texts = st.sampled_from([text for text in ODD_TEXTS if text.isprintable()]) | st.text(
    st.characters(exclude_categories=("Cs",)), max_size=12
)
_sound_numbers = [number for number in ODD_NUMBERS if abs(number) < 2**53]
canonical_values = nested(_sound_texts | st.sampled_from([*_sound_numbers, None, True, False]), _sound_texts)
"""Those that canonical JSON can hold, so that servers can sign them."""

RAW_BODIES = (
    b"", b"null", b"[]", b"7", b'"x"', b"{", b"{}", b"{}}", b"\xff\xfe", b"\xef\xbb\xbf{}", b'{"a":1,"a":2}', b'{"n":NaN}',
    b'{"n":1e400}', b'{"n":-Infinity}', b'{"s":"\\ud800"}', b'{"s":"\xed\xa0\x80"}', b"[" * 100_000, b'{"a":' * 5_000,
    b'{"' + b"k" * 70_000 + b'":1}', b'{"n":' + b"9" * 5_000 + b"}", b"{\x00}", b'{"s":"\x00"}', b'{"s":"a\nb"}', b"{'a':1}",
    b'{"a":1,}', b'{"a":01}', b'{"a":+1}', b"x" * 70_000,
)  # fmt: skip


def encoded(value: Any) -> bytes:
    """JSON, with escapes for what is not ASCII, so that lone surrogates come through."""
    return json.dumps(value, separators=(",", ":")).encode()


@st.composite
def bodies(draw: st.DrawFn, near: st.SearchStrategy[Any]) -> bytes:
    """Mostly the JSON of `near`; sometimes broken."""
    match draw(st.integers(0, 11)):
        case 0:
            return draw(st.sampled_from(RAW_BODIES))
        case 1:
            whole = encoded(draw(near))
            position = draw(st.integers(0, len(whole)))
            return (
                whole[:position] + draw(st.binary(max_size=3)) + whole[position + draw(st.integers(0, 3)) :]
            )
        case 2:
            return encoded(draw(values))
        case _:
            return encoded(draw(near))


@st.composite
def segments(draw: st.DrawFn, good: st.SearchStrategy[str]) -> str:
    """One segment of a path, percent-encoded: mostly a good value, encoded in one of several ways."""
    match draw(st.integers(0, 14)):
        case 0 | 1:
            value = draw(odd_texts)
        case 2:
            return draw(
                st.sampled_from(
                    ["%", "%f", "%FF", "%ED%A0%80", "%00", "%2", "%2F", "%252F", "%c0%80", ";a=b"]
                )
            )
        case 3:
            value = draw(good)
            position = draw(st.integers(0, len(value)))
            value = value[:position] + draw(odd_texts) + value[position + 1 :]
        case _:
            value = draw(good)
    raw = value.encode("utf-8", "surrogatepass")
    match draw(st.integers(0, 9)):
        case 0:
            return "".join(f"%{byte:02x}" for byte in raw)
        case 1:
            return quote(quote(raw, safe=""), safe="")
        case 2:
            return quote(raw, safe="!$:@#+~'(),;=&*" if "#" not in value else "!$:@")
        case _:
            return quote(raw, safe="")


@st.composite
def queries(draw: st.DrawFn, fields: dict[str, st.SearchStrategy[str]]) -> str:
    """A query string of some of the fields, with nonsense among them."""
    pairs = []
    for name, good in fields.items():
        times = draw(st.sampled_from((1, 1, 1, 1, 0, 0, 2)))
        pairs.extend((name, draw(odd_texts if draw(st.integers(0, 5)) == 0 else good)) for _ in range(times))
    if draw(st.integers(0, 9)) == 0:
        pairs.append((draw(odd_texts), draw(odd_texts)))
    query = "&".join(
        f"{quote(name.encode('utf-8', 'surrogatepass'), safe='')}={quote(value.encode('utf-8', 'surrogatepass'), safe='')}"
        for name, value in pairs
    )
    if draw(st.integers(0, 19)) == 0:
        query += draw(
            st.sampled_from(["&", "&=", "%", "&%FF=%FF", "?", "&a=%00", "&" * 1500, "&x=" + "y" * 9000, "#f"])
        )
    return query
