"""What answers other servers."""

from __future__ import annotations

from homeserver.app.base import Base
from homeserver.app.ephemeral import Ephemeral
from homeserver.app.graph import Graph
from homeserver.app.people import People
from homeserver.doctor import ProbeSettings
from homeserver.doctor.echo import Echoes
from homeserver.doctor.tester import FederationTester
from homeserver.federation.operator_requests import OperatorRequests
from homeserver.services.clock import now_ms
from homeserver.services.federation_health import FederationHealth
from homeserver.services.federation_queries import FederationQueries
from homeserver.services.history_answers import HistoryAnswers
from homeserver.services.inbound_errors import InboundErrors
from homeserver.services.inbound_invites import InboundInvites
from homeserver.services.incoming import IncomingTransactions
from homeserver.services.incoming_edus import IncomingEDUs
from homeserver.services.operator import Operator
from homeserver.services.published_keys import PublishedKeys
from homeserver.services.resident import Resident
from homeserver.services.space_answers import SpaceAnswers
from homeserver.services.state_answers import StateAnswers
from homeserver.services.third_party_invites import ThirdPartyInvites


def federation_services(base: Base, graph: Graph, people: People, ephemeral: Ephemeral) -> list[object]:
    """What answers other servers."""
    identity, key_ring, states = base.identity, base.key_ring, graph.states
    database, server_name = base.database, identity.server_name
    edus = IncomingEDUs(ephemeral.edu_handlers)
    health = FederationHealth(database, base.sender, server_name, now_ms)
    operator_requests = OperatorRequests(base.own_keys, now_ms)
    inbound_errors = InboundErrors(database, now_ms)
    inbound_errors.work.start()
    base.stack.push_async_callback(inbound_errors.stop)
    transactions = IncomingTransactions(database, graph.inbox, edus, now_ms, inbound_errors.note)
    base.stack.push_async_callback(transactions.stop)
    return [
        transactions,
        inbound_errors,
        health,
        Operator(operator_requests, health),
        Resident(database, states, graph.timeline, key_ring, identity, graph.join_limits),
        InboundInvites(
            database,
            states,
            graph.received,
            graph.outside,
            identity,
            graph.invite_limits,
        ),
        ThirdPartyInvites(database, states, people.invitations, identity, base.client),
        HistoryAnswers(database, states),
        SpaceAnswers(database, states, identity),
        StateAnswers(database, states),
        Echoes(operator_requests),
        _tester(base),
        PublishedKeys(base.own_keys, key_ring, now_ms, int(base.settings.keys.key_refresh_interval)),
        FederationQueries(
            server_name,
            people.directory.resolve,
            people.profiles.get_local,
            profiles_allowed=base.settings.federation.allow_profile_lookup_over_federation,
        ),
    ]


def _tester(base: Base) -> FederationTester:
    outbound = base.client.settings
    settings = ProbeSettings(
        outbound.addresses, outbound.custom_ca_files, outbound.dns_servers, outbound.well_known_port
    )
    tester = FederationTester(settings, is_enabled=base.settings.federation.federation_tester)
    base.stack.push_async_callback(tester.stop)
    return tester
