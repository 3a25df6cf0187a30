"""The nodes of a state map (`state_map`) and how they are written.

Leaf: 0x00, then for each entry, sorted by (type, state_key): a byte with the form of the event ID in its two
highest bits and the number of a well-known type in the others (0: the type follows); [type]; state_key;
event ID. Branch: 0x01, the number of entries below as a varint, 16 bits that say which children there are,
their digests. A text is its length as a varint and its UTF-8; an event ID that is a hash is its 32 bytes.

The encoding of an entry must never change, or equal maps of different times would have different roots.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

StateKey: TypeAlias = tuple[str, str]
Digest: TypeAlias = bytes
Entries: TypeAlias = dict[StateKey, str]

DIGEST_SIZE = 16
MEMBER = "m.room.member"
PATH_LENGTH = 1 + 32
_LEAF, _BRANCH = 0, 1
_TEXT_ID, _URL_SAFE_ID, _STANDARD_ID = 0, 1, 2

# Part of the encoding, so neither changed nor added to.
_WELL_KNOWN_TYPES = (
    "m.room.member",
    "m.room.create",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.aliases",
    "m.room.encryption",
    "m.room.third_party_invite",
    "m.room.server_acl",
    "m.room.tombstone",
    "m.room.pinned_events",
    "m.space.child",
    "m.space.parent",
    "m.policy.rule.user",
    "m.policy.rule.room",
    "m.policy.rule.server",
    "m.bridge",
    "uk.half-shot.bridge",
    "im.vector.modular.widgets",
    "m.widget",
    "m.room.bot.options",
    "m.room.related_groups",
    "m.room.policy",
    "m.call.member",
    "org.matrix.msc3401.call.member",
)
_TYPE_NUMBERS = {name: number for number, name in enumerate(_WELL_KNOWN_TYPES, start=1)}
_NIBBLES = tuple(bytes((byte >> 4, byte & 15)) for byte in range(256))


class CorruptNode(ValueError):
    """Bytes that are not the encoding of a node."""


def digest_of(encoding: bytes) -> Digest:
    """The digest a node with this encoding is known by."""
    return hashlib.blake2b(encoding, digest_size=DIGEST_SIZE).digest()


# The root of the map without entries. It need not be stored; no walk asks for it.
EMPTY: Digest = digest_of(bytes([_LEAF]))


@dataclass(frozen=True, slots=True)
class Leaf:
    """A node that holds entries itself."""

    entries: Entries

    @property
    def count(self) -> int:
        """How many entries there are."""
        return len(self.entries)


@dataclass(frozen=True, slots=True)
class Branch:
    """A node that holds further nodes, by the step that leads to them; `count` entries are below it."""

    count: int
    children: dict[int, Digest]


Node: TypeAlias = Leaf | Branch


def type_step(event_type: str) -> int:
    """The first step, 0 to 15, of the path of entries of this type."""
    if event_type == MEMBER:
        return 0
    return 1 + hashlib.blake2b(event_type.encode(), digest_size=1).digest()[0] % 15


def path_of(key: StateKey) -> bytes:
    """The steps from the root to where `key` belongs, each 0 to 15."""
    event_type, state_key = (part.encode() for part in key)
    hashed = hashlib.blake2b(b"%d:%b%b" % (len(event_type), event_type, state_key), digest_size=16).digest()
    return bytes((type_step(key[0]),)) + b"".join([_NIBBLES[byte] for byte in hashed])


def encode_leaf(entries: Entries) -> bytes:
    """The encoding of a leaf. Raises UnicodeEncodeError for a lone surrogate, which no event has."""
    out = bytearray((_LEAF,))
    for event_type, state_key in sorted(entries):
        form, event_id = _pack_event_id(entries[event_type, state_key])
        number = _TYPE_NUMBERS.get(event_type, 0)
        out.append(form << 6 | number)
        if number == 0:
            _write_text(out, event_type.encode())
        _write_text(out, state_key.encode())
        if form == _TEXT_ID:
            _write_text(out, event_id)
        else:
            out += event_id
    return bytes(out)


def encode_branch(count: int, below: Mapping[int, Digest]) -> bytes:
    """The encoding of a branch with these children and `count` entries below it."""
    out = bytearray((_BRANCH,))
    _write_varint(out, count)
    out += sum(1 << step for step in below).to_bytes(2, "big")
    for step in sorted(below):
        out += below[step]
    return bytes(out)


def decode(encoding: bytes) -> Node:
    """The node with this encoding. Raises CorruptNode."""
    try:
        if encoding[0] == _LEAF:
            return Leaf(_decode_leaf(encoding))
        if encoding[0] == _BRANCH:
            return _decode_branch(encoding)
    except (IndexError, UnicodeDecodeError) as error:
        raise CorruptNode("A node of a state map is damaged") from error
    raise CorruptNode(f"A node of a state map has the unknown kind {encoding[0]}")


def _decode_leaf(encoding: bytes) -> Entries:
    entries: Entries = {}
    at, end = 1, len(encoding)
    while at < end:
        form, number = encoding[at] >> 6, encoding[at] & 63
        at += 1
        if number:
            event_type = _WELL_KNOWN_TYPES[number - 1]
        else:
            text, at = _read_text(encoding, at)
            event_type = text.decode()
        text, at = _read_text(encoding, at)
        state_key = text.decode()
        if form == _TEXT_ID:
            event_id, at = _read_text(encoding, at)
        else:
            event_id, at = encoding[at : at + 32], at + 32
        entries[event_type, state_key] = _unpack_event_id(form, event_id)
    if at != end:
        raise CorruptNode("A leaf of a state map is cut off")
    return entries


def _decode_branch(encoding: bytes) -> Branch:
    count, at = _read_varint(encoding, 1)
    bits = encoding[at] << 8 | encoding[at + 1]
    at += 2
    below: dict[int, Digest] = {}
    step = 0
    while bits:
        if bits & 1:
            below[step] = encoding[at : at + DIGEST_SIZE]
            at += DIGEST_SIZE
        bits >>= 1
        step += 1
    if at != len(encoding):
        raise CorruptNode("A branch of a state map has the wrong length")
    return Branch(count, below)


def _pack_event_id(event_id: str) -> tuple[int, bytes]:
    """The form and the bytes of an event ID: from room version 3 on it is a hash in unpadded Base64.

    Spec: https://spec.matrix.org/v1.19/rooms/v4/#event-ids
    """
    if len(event_id) == 44 and event_id[0] == "$":
        for form, altchars in ((_URL_SAFE_ID, b"-_"), (_STANDARD_ID, b"+/")):
            try:
                hashed = b64decode(event_id[1:] + "=", altchars, validate=True)
            except ValueError:
                continue
            if _unpack_event_id(form, hashed) == event_id:
                return form, hashed
    return _TEXT_ID, event_id.encode()


def _unpack_event_id(form: int, packed: bytes) -> str:
    if form == _URL_SAFE_ID:
        return "$" + b64encode(packed, b"-_")[:-1].decode("ascii")
    if form == _STANDARD_ID:
        return "$" + b64encode(packed)[:-1].decode("ascii")
    if form == _TEXT_ID:
        return packed.decode()
    raise CorruptNode(f"An event ID in a state map has the unknown form {form}")


def _write_varint(out: bytearray, number: int) -> None:
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = data[at]
    at += 1
    if number < 0x80:
        return number, at
    number &= 0x7F
    shift = 7
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def _write_text(out: bytearray, text: bytes) -> None:
    _write_varint(out, len(text))
    out += text


def _read_text(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = _read_varint(data, at)
    return data[at : at + length], at + length
