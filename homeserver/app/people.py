"""What our users do to be in rooms, and are called there."""

from __future__ import annotations

import random
from dataclasses import dataclass

from homeserver.app.base import Base
from homeserver.app.graph import Graph
from homeserver.config import ConfigError, Problem
from homeserver.core.identifiers import new_user_id
from homeserver.services.clock import now_ms
from homeserver.services.directory import Directory
from homeserver.services.guests import GuestAccess
from homeserver.services.invitations import Invitations
from homeserver.services.member_profiles import MemberProfiles
from homeserver.services.membership import Entrance, Membership
from homeserver.services.mutual_rooms import MutualRooms
from homeserver.services.notice_rooms import NoticeRooms
from homeserver.services.presence_news import PresenceNews
from homeserver.services.profile_propagation import ProfilePropagation
from homeserver.services.profiles import Profiles
from homeserver.services.push_rules import PushRules
from homeserver.services.remote_directory import RemoteDirectory
from homeserver.services.remote_memberships import RemoteMemberships
from homeserver.services.replaced_rooms import ReplacedRooms
from homeserver.services.report_review import ReportReview
from homeserver.services.reports import Reports
from homeserver.services.room_creation import RoomCreation
from homeserver.services.room_upgrades import RoomUpgrades
from homeserver.services.server_notices import ServerNotices
from homeserver.services.turn_server import TurnServer
from homeserver.services.untold_leaves import UntoldLeaves
from homeserver.services.user_directory import UserDirectory
from homeserver.services.user_directory_index import UserDirectoryIndex
from homeserver.services.user_writes import UserWrites


@dataclass(frozen=True, slots=True)
class People:
    """What our users do to be in rooms, and are called there."""

    directory: Directory
    invitations: Invitations
    membership: Membership
    profiles: Profiles
    creation: RoomCreation
    upgrades: RoomUpgrades
    index: UserDirectoryIndex


def build_people(base: Base, graph: Graph, presence: PresenceNews | None) -> People:
    """Build it. `presence`: told of changed profiles; None where it is switched off."""
    database = base.database
    states, timeline, identity = graph.states, graph.timeline, base.identity
    remote_directory = RemoteDirectory(base.client)
    member_profiles = MemberProfiles(database)
    directory = Directory(database, states, timeline, remote_directory, identity, now_ms)
    invitations = Invitations(
        database,
        states,
        timeline,
        member_profiles,
        identity,
        base.client,
        base.key_ring,
        graph.invite_limits,
    )
    remote = RemoteMemberships(
        graph.outside, graph.joins, base.client, graph.received, graph.inbox, identity, now_ms
    )
    untold = UntoldLeaves(database, remote, now_ms, random.Random())
    untold.work.start()
    base.stack.push_async_callback(untold.work.stop)
    writes = UserWrites(database, base.after_commit)
    replaced = ReplacedRooms(writes, states, PushRules(writes))
    membership = Membership(
        database,
        states,
        timeline,
        invitations,
        member_profiles,
        directory,
        remote,
        identity,
        Entrance(graph.join_limits, replaced.carry_over),
    )
    propagation = ProfilePropagation(database, timeline, member_profiles)
    index = UserDirectoryIndex(database, states, identity)
    guests = GuestAccess(database, states, timeline, identity)
    base.observers.extend([index.committed, guests.committed])
    for work in (propagation.work, index.work, guests.work):
        work.start()
        base.stack.push_async_callback(work.stop)

    async def profile_changed(user_id: str) -> None:
        # Whose profile it is stands in the database.
        propagation.work.wake()
        index.work.wake()
        if presence is not None:
            await presence.profile_changed(user_id)

    profiles = Profiles(
        database, identity.server_name, on_change=profile_changed, remote=remote_directory.profile
    )
    version = str(base.settings.rooms.default_room_version)
    creation = RoomCreation(timeline, invitations, member_profiles, identity, now_ms, version)
    upgrades = RoomUpgrades(database, states, timeline, member_profiles, replaced)
    return People(directory, invitations, membership, profiles, creation, upgrades, index)


async def people_services(base: Base, graph: Graph, people: People) -> list[object]:
    """What handlers may ask for of it, and what users find and tell of each other. Raises ConfigError."""
    database, states = base.database, graph.states
    notice_rooms = _notice_rooms(base, people)
    if notice_rooms is not None:
        await notice_rooms.prepare()
    return [
        people.directory,
        people.membership,
        people.profiles,
        people.creation,
        people.upgrades,
        MutualRooms(database),
        Reports(database, states, base.identity, now_ms),
        ReportReview(database, states),
        ServerNotices(database, graph.timeline, notice_rooms, base.identity),
        TurnServer(base.settings.voip, now_ms),
        UserDirectory(database, base.settings.people.user_directory, people.index),
    ]


def _notice_rooms(base: Base, people: People) -> NoticeRooms | None:
    """None where there are no server notices. Raises ConfigError."""
    settings = base.settings.people.server_notices
    if settings is None:
        return None
    localpart = settings.system_mxid_localpart
    try:
        sender = new_user_id(localpart, base.identity.server_name)
    except ValueError as error:
        where = "server_notices.system_mxid_localpart"
        raise ConfigError(
            "homeserver.yaml", [Problem(where, f"{localpart!r} is no name: {error}")]
        ) from error
    writes = UserWrites(base.database, base.after_commit)
    return NoticeRooms(
        writes,
        people.creation,
        people.invitations,
        people.membership,
        people.profiles,
        settings,
        sender,
    )
