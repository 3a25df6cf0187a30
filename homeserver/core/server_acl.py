"""Server access control lists: which servers may take part in a room.

Spec: https://spec.matrix.org/v1.19/client-server-api/#server-access-control-lists-acls-for-rooms
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from homeserver.core.identifiers import parse_server_name


def server_acl_refusal(acl: Mapping[str, Any] | None, server_name: str) -> str | None:
    """Why the m.room.server_acl content `acl` keeps `server_name` out; None when it is let in.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#mroomserver_acl
    """
    # 1. If there is no m.room.server_acl event in the room state, allow.
    if acl is None:
        return None
    # "the suspect server's port number must not be considered"
    parsed = parse_server_name(server_name)
    host = parsed.host.lower()
    # 2. If the server name is an IP address literal, and allow_ip_literals is present and false, deny.
    if parsed.is_ip_literal and acl.get("allow_ip_literals") is False:
        return "the room's server ACL does not allow IP address literals"
    # 3. If the server name matches an entry in the deny list, deny.
    if _matches(acl.get("deny"), host):
        return "the room's server ACL denies this server"
    # 4. If the server name matches an entry in the allow list, allow.
    if _matches(acl.get("allow"), host):
        return None
    # 5. Otherwise, deny.
    return "the room's server ACL does not list this server among those it allows"


def _matches(patterns: Any, host: str) -> bool:
    if not isinstance(patterns, list):
        return False
    return any(isinstance(pattern, str) and _compiled(pattern).fullmatch(host) for pattern in patterns)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    # Runs of `*` are one `*`: a pattern of many would take the matcher exponentially long.
    # Spec: https://spec.matrix.org/v1.19/appendices/#glob-style-matching
    pieces = re.split(r"(\*+|\?)", pattern.lower())
    return re.compile("".join(_piece(piece) for piece in pieces), re.DOTALL)


def _piece(piece: str) -> str:
    if piece.startswith("*"):
        return ".*"
    return "." if piece == "?" else re.escape(piece)
