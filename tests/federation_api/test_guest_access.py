"""Guests and rooms of other servers."""

from __future__ import annotations

from pathlib import Path

from tests.support.certificates import Authority
from tests.support.federation_peer import FederationPeer
from tests.support.whole import V3, WholeServer


async def test_guests_and_rooms_of_others(authority: Authority, peer: FederationPeer, tmp_path: Path) -> None:
    more = {"allow_guest_access": True}
    async with WholeServer(authority, tmp_path, (peer.server_name,), more=more) as ours:
        answer = (await ours.client.post(f"{V3}/register?kind=guest", {})).ok()
        guest = ours.client.with_token(answer["access_token"], answer["user_id"])
        shut, open_to_all = peer.room("10"), peer.room("10")
        open_to_all.add("m.room.guest_access", peer.user("alice"), {"guest_access": "can_join"}, "")
        join = f"{V3}/join/{{}}?via={peer.server_name}"
        (await guest.post(join.format(shut.room_id))).refused(403, "M_GUEST_ACCESS_FORBIDDEN")
        (await guest.post(join.format(open_to_all.room_id))).ok()
        rooms = (await guest.get(f"{V3}/sync")).ok()["rooms"]["join"]
        assert set(rooms) == {open_to_all.room_id}
