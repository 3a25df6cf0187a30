"""Which tests cover which wrong event or answer of another server: the list that the server was built against, and the tests of
each item.

Each is refused with its reason, and a room that an honest server shares stays usable: tests/fuzz/test_malicious_peer.py holds the
events against the whole server; the others look closer.
"""

from __future__ import annotations

import pytest

from .test_bad_input_index import missing_tests

COVERED: dict[str, tuple[str, ...]] = {
    "events that the auth rules refuse, by what they name and by the state before them": (
        "fuzz/test_malicious_peer.py::test_every_wrong_event_is_refused_and_the_room_stays_usable",
        "fuzz/test_bad_input.py::test_wrong_auth_events",
        "federation_api/test_transactions.py::test_wrong_auth_events",
        "federation_api/test_transactions.py::test_each_event_is_answered_by_itself",
    ),
    "events whose auth events were rejected": (
        "fuzz/test_malicious_peer.py::test_what_builds_on_a_rejected_event",
        "federation_api/test_transactions.py::test_what_builds_on_a_rejected_event",
    ),
    "what was refused, brought back": (
        "services/test_room_graph.py::test_a_refused_event_stays_so_however_it_comes_again",
        "federation_api/test_joining.py::test_what_was_rejected_stays_so_when_the_room_is_joined_again",
    ),
    "events that evade a ban": (
        "fuzz/test_malicious_peer.py::test_who_was_banned_is_neither_heard_nor_told_anything",
        "federation_api/test_transactions.py::test_an_event_that_evades_a_ban_is_soft_failed",
    ),
    "events in the name of others": (
        "fuzz/test_malicious_peer.py::test_every_wrong_event_is_refused_and_the_room_stays_usable",
        "federation_api/test_transactions.py::test_a_forged_signature",
        "federation_api/test_transactions.py::test_an_event_of_another_server_with_our_signature_only",
    ),
    "auth chains and states that cross rooms": (
        "fuzz/test_malicious_peer.py::test_every_wrong_event_is_refused_and_the_room_stays_usable",
        "federation_api/test_transactions.py::test_an_event_of_another_room_cannot_be_in_the_state",
        "services/test_room_graph.py::test_an_event_of_another_room_before_it_refuses_an_event",
        "services/test_room_graph.py::test_an_auth_event_of_another_room_refuses_an_event",
        "services/test_room_graph.py::test_history_does_not_cross_rooms",
        "services/test_room_graph.py::test_an_id_that_another_room_has_is_no_history_and_that_room_is_unharmed",
    ),
    "gaps that cannot be filled, or are filled with lies and without end": (
        "fuzz/test_malicious_peer.py::test_every_wrong_event_is_refused_and_the_room_stays_usable",
        "federation_api/test_transactions.py::test_a_gap_that_stays",
        "federation_api/test_transactions.py::test_a_server_that_fills_no_gap",
        "federation_api/test_transactions.py::test_what_one_server_says_of_the_state_does_not_undo_what_we_know",
    ),
    "a server that the access list denies": (
        "federation_api/test_transactions.py::test_a_server_that_the_acl_denies",
        "federation_api/test_history.py::test_a_server_that_the_acl_denies",
        "federation_api/test_invites.py::test_a_server_that_the_room_keeps_out_cannot_invite",
        "federation_api/test_receipts.py::test_the_servers_acl",
        "interop/test_years.py::test_a_server_that_the_access_list_denies",
    ),
    "questions of who is not in the room": (
        "fuzz/test_malicious_peer.py::test_who_was_banned_is_neither_heard_nor_told_anything",
        "federation_api/test_history.py::test_only_servers_in_the_room_are_told",
        "federation_api/test_history.py::test_history_that_the_server_may_not_see_is_redacted",
        "federation_api/test_events_by_time.py::test_who_is_not_in_the_room",
    ),
    "send_join, send_leave and send_knock of what is none": (
        "federation_api/test_resident.py::test_events_that_are_no_join",
        "federation_api/test_resident.py::test_another_event_id",
        "federation_api/test_resident.py::test_a_claim_that_we_let_somebody_in",
        "federation_api/test_knocking.py::test_events_that_are_none",
        "federation_api/test_leaving.py::test_make_leave_refusals",
    ),
    "invites that are none, forged or too many": (
        "federation_api/test_invites.py::test_what_is_no_invite_is_not_signed",
        "federation_api/test_invites.py::test_an_invite_that_is_forged",
        "federation_api/test_invites.py::test_what_is_told_of_a_room_is_checked_from_version_12_on",
        "federation_api/test_invites.py::test_who_is_not_in_the_room_cannot_cancel_an_invite",
        "federation_api/test_invites.py::test_nobody_is_flooded_with_invites",
        "api/test_membership_limits.py::test_invites_of_a_user_count_from_wherever",
    ),
    "templates that ask us to sign something else": (
        "federation_api/test_joining.py::test_a_template_that_asks_to_sign_something_else",
        "federation_api/test_invites.py::test_a_leave_template_that_asks_to_sign_something_else",
        "federation_api/test_knocking.py::test_a_template_that_asks_to_sign_something_else",
    ),
    "answers to send_join that cannot be, are too large or never end": (
        "federation_api/test_joining.py::test_a_state_that_cannot_be",
        "federation_api/test_joining.py::test_what_is_wrong_with_single_events_of_the_state",
        "federation_api/test_joining.py::test_another_event_comes_back",
        "federation_api/test_joining.py::test_members_must_not_be_left_out",
        "federation_api/test_joining.py::test_a_gigabyte_is_not_read",
        "federation_api/test_joining.py::test_a_server_that_answers_byte_by_byte",
    ),
    "history, times and summaries that are wrong": (
        "federation_api/test_backfilling.py::test_what_is_wrong_with_history_is_left_out",
        "federation_api/test_backfilling.py::test_a_server_that_does_not_tell_the_state",
        "federation_api/test_events_by_time.py::test_what_is_named_wrongly_is_not_shown",
        "federation_api/test_events_by_time.py::test_an_event_without_its_signature_is_not_shown",
        "federation/test_remote.py::test_no_answer_of_another_type_is_accepted",
    ),
    "keys that lie": (
        "federation/test_key_ring.py::test_bad_responses_are_refused",
        "federation/test_key_ring.py::test_a_notary_that_lies_is_not_believed",
        "federation/test_key_ring.py::test_a_far_future_validity_is_not_believed",
        "federation/test_key_ring.py::test_unknown_key_ids_do_not_flood_a_server_nor_hide_its_new_key_for_long",
    ),
    "more requests than a server may make": (
        "http/test_peer_limits.py::test_what_is_more_than_may_wait_is_refused",
        "federation_api/test_receipts.py::test_more_than_a_server_may_send_at_once",
    ),
    "a server that is heard and cannot be reached, or lets requests hang": (
        "services/test_sender.py::test_a_server_that_reaches_us_and_is_out_of_our_reach_is_not_hammered",
        "services/test_sender.py::test_servers_that_let_requests_hang_hold_up_nobody_else",
    ),
}


@pytest.mark.parametrize("item", COVERED)
def test_the_tests_of_each_kind_exist(item: str) -> None:
    assert not missing_tests(COVERED[item]), f"gone: name the tests that cover {item!r} now"
