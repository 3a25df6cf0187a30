"""Strategies of requests to an endpoint: near what its handler takes, with names of what there is."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from itertools import count
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from homeserver.core.events import compute_event_id, content_hash
from homeserver.core.signing import event_signed_bytes, key_id_of, signature_of
from homeserver.http import Endpoint
from homeserver.http.endpoint import Auth
from tests.support.federation_peer import PeerRoom

from . import nonsense
from .nonsense import KEYS, bodies, canonical_values, odd_texts, queries, segments, values
from .specification import body_of, query_names
from .world import FuzzedRequest, Scene

_transactions = count()

EVENT_TYPES = (
    "m.room.message", "m.room.topic", "m.room.name", "m.room.member", "m.room.power_levels", "m.room.join_rules",
    "m.room.create", "m.room.history_visibility", "m.room.guest_access", "m.room.canonical_alias", "m.room.avatar",
    "m.room.server_acl", "m.room.tombstone", "m.room.encryption", "m.room.pinned_events", "m.room.third_party_invite",
    "m.room.redaction", "m.room.aliases", "m.reaction", "m.space.child", "org.example",
)  # fmt: skip
WORDS: Mapping[str, tuple[str, ...]] = {
    "type": EVENT_TYPES,
    "event_type": EVENT_TYPES,
    "membership": ("join", "leave", "invite", "ban", "knock"),
    "not_membership": ("join", "leave"),
    "room_version": tuple(str(number) for number in range(14)),
    "ver": ("1", "5", "10", "12", "6", "13"),
    "key_name": ("displayname", "avatar_url", "m.tz", "org.example.field"),
    "field": ("displayname", "avatar_url"),
    "query_type": ("directory", "profile", "client_keys"),
    "txn_id": (*(f"t{number}" for number in range(20)),),
    "dir": ("b", "f"),
    "timeout": ("0", "1", "5", "-1", "x"),
    "limit": ("0", "1", "3", "10", "1000", "99999999999999999999", "-1"),
    "filter": (
        '{"room":{"timeline":{"limit":2}}}', '{"limit":5,"types":["m.*"]}', '{"event_fields":["content.body","type"]}',
        '{"room":{"state":{"lazy_load_members":true}}}', '{"event_format":"federation"}', '{"senders":[7]}', '{"limit":0}',
        '{"room":{"rooms":[],"not_rooms":["!a:b"],"timeline":{"types":["*"],"not_types":["m.room.*"],"contains_url":true}}}',
    ),
    "identifier": ("m.id.user",),
    "password": ("a password",),
    "username": ("alice", "nobody", "new", "Upper", "_"),
    "device_id": ("DEVICE", "D2"),
    "room_alias_name": ("lobby", "r0", "new"),
    "minimum_valid_until_ts": ("0", "1", "9999999999999", "-1"),
    "set_presence": ("online", "offline", "unavailable"),
    "format": ("content", "event"),
    "kind": ("user", "guest"),
}  # fmt: skip
POOLS: Mapping[str, str] = {
    "user_id": "user", "sender": "user", "invite": "user", "state_key": "user", "username": "user", "user": "user",
    "room_id": "room", "predecessor": "room",
    "event_id": "event", "earliest_events": "event", "latest_events": "event", "v": "event", "redacts": "event",
    "room_alias": "alias", "alias": "alias", "aliases": "alias", "alt_aliases": "alias",
    "via": "server", "server_name": "server", "server": "server", "server_keys": "server",
    "from": "token", "to": "token", "since": "token", "at": "token",
    "filter_id": "filter",
}  # fmt: skip


def texts_of(name: str, scene: Scene) -> st.SearchStrategy[str]:
    """Good values of a parameter or key of this name."""
    if name == "room_id_or_alias":
        return st.sampled_from(scene.names["room"] + scene.names["alias"])
    found: list[str] = [*WORDS.get(name, ()), *scene.names.get(POOLS.get(name, ""), ())]
    if name == "state_key":
        found += ["", "", "", "x"]
    return st.sampled_from(found) if found else st.sampled_from(["x", "1", "true", "a name"])


def contents(scene: Scene, values: st.SearchStrategy[Any] = values) -> st.SearchStrategy[dict[str, Any]]:
    """Contents of events, filters and the like: known keys with values that may be right."""
    keys = st.sampled_from(KEYS)
    users, rooms = st.sampled_from(scene.names["user"]), st.sampled_from(scene.names["room"])
    texts = odd_texts if values is nonsense.values else st.sampled_from(scene.names["event"] + ["x", ""])
    levels = st.integers(-1, 101) | st.sampled_from(["50", "x", None])
    power = st.fixed_dictionaries(
        {},
        optional={
            "users": st.dictionaries(users | texts, levels, max_size=3) | values,
            "events": st.dictionaries(st.sampled_from(EVENT_TYPES) | texts, levels, max_size=3) | values,
            "notifications": st.dictionaries(texts, levels, max_size=2) | values,
            "users_default": levels, "state_default": levels, "ban": levels, "invite": levels, "redact": levels,
        },
    )  # fmt: skip
    member = st.fixed_dictionaries(
        {"membership": st.sampled_from(WORDS["membership"]) | values},
        optional={
            "displayname": values, "reason": values, "join_authorised_via_users_server": users | values,
            "third_party_invite": st.fixed_dictionaries({"signed": values | st.fixed_dictionaries(
                {"mxid": users, "token": texts, "signatures": values})}) | values,
        },
    )  # fmt: skip
    rules = st.fixed_dictionaries(
        {
            "join_rule": st.sampled_from(["public", "invite", "knock", "restricted", "knock_restricted"])
            | values
        },
        optional={
            "allow": values
            | st.lists(st.fixed_dictionaries({"type": st.just("m.room_membership"), "room_id": rooms}))
        },
    )
    odd = st.dictionaries(
        keys | texts, values | users | rooms | st.sampled_from(scene.names["event"]), max_size=4
    )
    return st.one_of(odd, odd, member, power, rules, st.just({"msgtype": "m.text", "body": "hello"}))


def of_type(kind: inspect.Type, name: str, scene: Scene) -> st.SearchStrategy[Any]:
    """Values that the decoder takes for a type, mostly."""
    match kind:
        case inspect.Metadata(type=inner):
            return of_type(inner, name, scene)
        case inspect.StructType(fields=fields):
            return st.fixed_dictionaries(
                {field.encode_name: near(field, scene) for field in fields if field.required},
                optional={field.encode_name: near(field, scene) for field in fields if not field.required},
            )
        case inspect.UnionType(types=types):
            return st.one_of(*(of_type(each, name, scene) for each in types))
        case inspect.ListType(item_type=item):
            items = of_type(item, name, scene)
            return pdus(scene) if name == "pdus" else st.lists(items, max_size=3)
        case inspect.DictType(key_type=inspect.StrType(), value_type=inspect.AnyType()):
            return contents(scene) | contents(scene)
        case inspect.DictType(value_type=value):
            return st.dictionaries(texts_of(name, scene), of_type(value, name, scene), max_size=2)
        case inspect.LiteralType(values=allowed):
            return st.sampled_from(allowed)
        case inspect.StrType():
            return texts_of(name, scene)
        case inspect.IntType():
            return st.integers(-1, 100)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case _:
            return values


def near(field: inspect.Field, scene: Scene) -> st.SearchStrategy[Any]:
    """Mostly a value that fits the field."""
    good = of_type(field.type, field.encode_name, scene)
    return st.integers(0, 8).flatmap(lambda chosen: values if chosen == 0 else good)


def edus(scene: Scene) -> st.SearchStrategy[list[Any]]:
    """EDUs of all kinds."""
    kinds = st.sampled_from(
        ["m.typing", "m.receipt", "m.presence", "m.direct_to_device", "m.device_list_update", "org.odd"]
    )
    content = contents(scene, canonical_values)
    edu = st.fixed_dictionaries({"edu_type": kinds, "content": content})
    odd = (
        st.fixed_dictionaries({"edu_type": canonical_values, "content": canonical_values}) | canonical_values
    )
    return st.lists(edu | odd, max_size=3)


@st.composite
def pdus(draw: st.DrawFn, scene: Scene) -> list[Any]:
    """PDUs of a room of the peer: signed as they should be, whatever stands in them."""
    return [draw(pdu(scene)) for _ in range(draw(st.sampled_from((1, 2, 4, 0))))]


@st.composite
def pdu(draw: st.DrawFn, scene: Scene, event_type: str | None = None, room: PeerRoom | None = None) -> Any:
    """One PDU."""
    room = room or draw(st.sampled_from(scene.peer_rooms))
    chosen = event_type or draw(st.sampled_from(EVENT_TYPES))
    senders = [
        *(scene.peer.user(name) for name in ("alice", "alice", "zoe", "zoe", "zoe", "mallory")),
        scene.names["user"][0],
    ]
    sender = draw(st.sampled_from(senders))
    state_key = draw(st.sampled_from([None, None, "", "", "x", sender, sender, *scene.names["user"][-2:]]))
    content = draw(contents(scene, canonical_values))
    like = "m.room.message" if chosen == "m.room.create" else chosen  # which nobody can make anew
    made = {
        **room.make(like, sender, {"membership": "join", **content}, state_key).pdu,
        "type": chosen,
        "content": content,
    }
    for _ in range(draw(st.sampled_from((0, 0, 0, 0, 1, 2)))):
        name = draw(st.sampled_from([*made, "redacts", "unsigned", "membership"]))
        if draw(st.booleans()):
            made[name] = draw(canonical_values)
        else:
            made.pop(name, None)
    if draw(st.integers(0, 29)) == 0:
        return draw(values)
    return signed(made, room)


@st.composite
def join(draw: st.DrawFn, scene: Scene) -> Any:
    """A join that nearly is one."""
    room = draw(st.sampled_from(scene.peer_rooms))
    user = scene.peer.user(draw(st.sampled_from(["zoe", "alice", "mallory"])))
    content = {**draw(st.just({}) | contents(scene, canonical_values)), "membership": "join"}
    made = dict(room.make("m.room.member", user, {"membership": "join"}, user).pdu) | {"content": content}
    if draw(st.integers(0, 3)) == 0:
        made[draw(st.sampled_from(list(made)))] = draw(canonical_values)
    return signed(made, room)


def signed(made: dict[str, Any], room: PeerRoom) -> dict[str, Any]:
    """With a content hash and a signature of the peer, if such JSON can have them."""
    try:
        made["hashes"] = {"sha256": content_hash(made)}
        key = room.peer.signing_key
        signature = signature_of(event_signed_bytes(made, room.rules), key)
        made["signatures"] = {room.peer.server_name: {key_id_of(key): signature}}
    except (ValueError, TypeError, AttributeError, KeyError):
        return made  # no canonical JSON, or so far from an event that it cannot be redacted
    return made


@st.composite
def requests(draw: st.DrawFn, endpoint: Endpoint, scene: Scene) -> FuzzedRequest:
    """A request to an endpoint."""
    hints = typing.get_type_hints(endpoint.handler, include_extras=True)
    body = draw(bodies(_near_or_by_schema(endpoint, hints["body"], scene))) if "body" in hints else None
    goods = {name: texts_of(name, scene) for name in endpoint.parameters}
    if endpoint.operation == "send_transaction":
        goods["txn_id"] = st.builds(lambda: f"t{next(_transactions)}")  # a repeated one is answered as it was
    if endpoint.operation.startswith("send_join"):
        goods |= _place_of(body, scene)
    path = draw(st.sampled_from(endpoint.paths))
    target = path.format_map({name: draw(segments(good)) for name, good in goods.items()})
    if "query" in hints:
        fields = msgspec.inspect.type_info(hints["query"]).fields  # type: ignore[attr-defined]
        names = dict.fromkeys([*(field.encode_name for field in fields), *query_names(endpoint)])
        target += "?" + draw(queries({name: texts_of(name, scene) for name in names}))
    if body is None and draw(st.integers(0, 9)) == 0:
        body = draw(st.sampled_from([b"{}", b"x" * 100_000]))
    if endpoint.auth is Auth.SIGNED_REQUEST:
        return FuzzedRequest(endpoint.method, target, body, signed=draw(st.integers(0, 19)) > 0)
    if endpoint.auth is Auth.NO_AUTH and draw(st.booleans()):
        return FuzzedRequest(endpoint.method, target, body)
    known = st.sampled_from(scene.tokens)
    token = draw(known if draw(st.integers(0, 19)) else st.sampled_from(["x", "", "é", "a b"]))
    return FuzzedRequest(endpoint.method, target, body, token=token)


def _place_of(body: bytes | None, scene: Scene) -> dict[str, st.SearchStrategy[str]]:
    """The room and the ID of an event that is sent to a path which names them."""
    try:
        event = json.loads(body or b"")
        room = next(room for room in scene.peer_rooms if room.room_id == event["room_id"])
        event_id = event.get("event_id") or compute_event_id(event, room.rules)
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration, RecursionError):
        return {}
    return {"room_id": st.just(room.room_id), "event_id": st.just(str(event_id))}


def _near_or_by_schema(endpoint: Endpoint, body_type: Any, scene: Scene) -> st.SearchStrategy[Any]:
    """What the handler takes, with names of what there is; a third of them only what the specification's schema allows."""
    near_by, by_schema = _body(endpoint, body_type, scene), body_of(endpoint)
    return near_by if by_schema is None else st.one_of(near_by, near_by, by_schema)


def _body(endpoint: Endpoint, body_type: Any, scene: Scene) -> st.SearchStrategy[Any]:
    match endpoint.operation:
        case "send_transaction":
            return st.fixed_dictionaries(
                {"pdus": pdus(scene), "edus": edus(scene)},
                optional={
                    "origin": st.sampled_from(scene.names["server"]),
                    "origin_server_ts": canonical_values,
                },
            )
        case "send_join_v1" | "send_join_v2":
            return join(scene) | pdu(scene, "m.room.member")
        case "login":
            rest = of_type(inspect.type_info(body_type), "", scene)
            kind = st.fixed_dictionaries(
                {
                    "type": st.just("m.login.password"),
                    "identifier": values
                    | st.fixed_dictionaries(
                        {
                            "type": st.just("m.id.user"),
                            "user": st.sampled_from(scene.names["user"]) | odd_texts,
                        }
                    ),
                }
            )
            return st.tuples(rest, kind).map(lambda pair: {**pair[0], **pair[1]})
        case "register":
            auth = st.just({"type": "m.login.dummy"}) | contents(scene)
            rest = of_type(inspect.type_info(body_type), "", scene)
            return st.tuples(rest, auth).map(lambda pair: {**pair[0], "auth": pair[1]})
    return of_type(inspect.type_info(body_type), "", scene)
