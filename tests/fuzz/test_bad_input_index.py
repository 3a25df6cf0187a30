"""Which tests cover which kind of bad input: the list that the server was built against, and the tests of each item.

Each item needs four things: a clear error for the sender, a reason that is logged and counted, nothing half-written, and the
server unharmed. tests/fuzz/test_bad_input.py holds them all against the whole server; the others look closer.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]

COVERED: dict[str, tuple[str, ...]] = {
    "malformed JSON": (
        "fuzz/test_bad_input.py::test_bodies_of_clients",
        "fuzz/test_bad_input.py::test_transactions_that_are_none",
        "fuzz/test_fuzzing.py::test_any_request",
        "api/test_hostile_input.py::test_nothing_breaks_the_server",
        "http/test_requests.py::test_a_body_must_be_a_json_object",
        "federation_api/test_transactions.py::test_malformed_transactions",
        "federation_api/test_joining.py::test_answers_that_are_not_what_they_should_be",
        "core/test_canonical_json.py::test_what_decoding_refuses",
        "core/test_canonical_json.py::test_no_bytes_raise_anything_else",
    ),
    "oversized JSON": (
        "fuzz/test_bad_input.py::test_bodies_of_clients",
        "fuzz/test_bad_input.py::test_transactions_that_are_none",
        "fuzz/test_headers.py::test_a_compression_bomb",
        "http/test_requests.py::test_a_large_body_is_refused_whether_announced_or_not",
        "federation_api/test_transactions.py::test_an_oversized_transaction",
        "federation/test_transport.py::test_a_giant_answer_is_stopped_at_the_limit",
        "federation/test_transport.py::test_a_compression_bomb_is_stopped_at_the_limit",
        "core/test_events.py::test_size_limits",
    ),
    "deeply nested JSON": (
        "fuzz/test_bad_input.py::test_bodies_of_clients",
        "fuzz/test_bad_input.py::test_transactions_that_are_none",
        "fuzz/test_bad_input.py::test_what_is_nested_too_deep_for_other_servers_is_refused",
        "federation_api/test_transactions.py::test_malformed_transactions",
        "federation_api/test_joining.py::test_answers_that_are_not_what_they_should_be",
        "core/test_canonical_json.py::test_depth_counts_nesting_and_not_brackets",
    ),
    "forged signatures": (
        "fuzz/test_bad_input.py::test_requests_that_are_not_signed_as_they_should",
        "fuzz/test_bad_input.py::test_events_that_are_dropped",
        "fuzz/test_headers.py::test_signatures_of_requests",
        "federation_api/test_transactions.py::test_a_forged_signature",
        "federation_api/test_transactions.py::test_an_event_of_another_server_with_our_signature_only",
        "federation_api/test_joining.py::test_a_state_that_cannot_be",
        "federation/test_key_ring.py::test_bad_responses_are_refused",
        "federation/test_key_ring.py::test_events_are_verified",
    ),
    "expired signatures": (
        "fuzz/test_bad_input.py::test_a_server_whose_key_has_expired",
        "fuzz/test_bad_input.py::test_an_event_from_beyond_the_validity_of_its_key",
        "federation_api/test_transactions.py::test_a_key_that_was_not_valid_then",
        "federation/test_key_ring.py::test_an_expired_response_does_not_verify_requests",
        "federation/test_key_ring.py::test_key_validity_at_the_time_of_the_event",
        "federation/test_key_ring.py::test_old_keys_verify_what_was_made_before_they_expired",
    ),
    "missing signatures": (
        "fuzz/test_bad_input.py::test_requests_that_are_not_signed_as_they_should",
        "fuzz/test_bad_input.py::test_events_that_are_dropped",
        "federation_api/test_transactions.py::test_a_request_without_a_signature",
        "federation_api/test_transactions.py::test_each_event_is_answered_by_itself",
        "federation_api/test_joining.py::test_a_restricted_join_without_the_authorisers_signature",
        "federation/test_key_ring.py::test_an_event_without_the_signature_of_its_server",
        "core/test_signing.py::test_an_event_needs_its_senders_signature",
    ),
    "a PDU with a wrong hash: redacted and kept": (
        "fuzz/test_bad_input.py::test_an_event_with_a_wrong_hash_is_redacted_and_kept",
        "federation_api/test_transactions.py::test_a_wrong_hash",
        "federation_api/test_joining.py::test_what_is_wrong_with_single_events_of_the_state",
        "federation_api/test_resident.py::test_a_changed_content_is_not_taken_redacted",
    ),
    "wrong auth events": (
        "fuzz/test_bad_input.py::test_wrong_auth_events",
        "federation_api/test_transactions.py::test_wrong_auth_events",
        "federation_api/test_transactions.py::test_what_builds_on_a_rejected_event",
    ),
    "events for rooms we are not in": (
        "fuzz/test_bad_input.py::test_events_for_rooms_we_are_not_in",
        "federation_api/test_transactions.py::test_events_for_rooms_that_we_are_not_in",
        "federation_api/test_resident.py::test_a_room_that_we_have_left",
    ),
    "floats and huge integers": (
        "fuzz/test_bad_input.py::test_bodies_of_clients",
        "fuzz/test_bad_input.py::test_what_a_room_cannot_be_made_of",
        "fuzz/test_bad_input.py::test_events_that_are_dropped",
        "federation_api/test_transactions.py::test_malformed_events",
        "core/test_canonical_json.py::test_what_strict_rooms_refuse",
        "core/test_canonical_json.py::test_older_rooms_keep_floats_and_large_integers_as_they_came",
    ),
    "a send_join answer of a gigabyte": (
        "fuzz/test_bad_input.py::test_a_gigabyte_as_the_answer_to_send_join",
        "federation_api/test_joining.py::test_a_gigabyte_is_not_read",
        "federation/test_remote_membership.py::test_a_large_send_join_is_parsed_and_a_larger_one_refused",
    ),
    "a peer that answers slowly byte by byte": (
        "fuzz/test_bad_input.py::test_a_server_that_answers_byte_by_byte",
        "fuzz/test_bad_input.py::test_a_server_that_sends_byte_by_byte_delays_nobody",
        "federation_api/test_joining.py::test_a_server_that_answers_byte_by_byte",
        "federation_api/test_transactions.py::test_a_peer_that_sends_byte_by_byte",
        "federation/test_transport.py::test_a_peer_that_drips_is_given_up",
        "http/test_connections.py::test_a_slow_body_is_given_up",
    ),
    "a make_join template that asks us to sign something else": (
        "fuzz/test_bad_input.py::test_a_template_that_asks_us_to_sign_something_else",
        "federation_api/test_joining.py::test_a_template_that_asks_to_sign_something_else",
        "federation_api/test_joining.py::test_only_what_we_mean_is_signed",
        "federation/test_remote_membership.py::test_templates_are_checked",
    ),
    "errors of other servers that mean something else to a client": (
        "fuzz/test_answers_of_others.py::test_errors",
        "api/test_inviting.py::test_what_the_users_server_answers_is_passed_on",
    ),
    "many at once, clients that hang up, a process that is killed": (
        "fuzz/test_concurrency.py::test_the_same_transaction_id_many_times_is_one_event",
        "fuzz/test_concurrency.py::test_joining_and_leaving_at_once",
        "fuzz/test_concurrency.py::test_one_of_many_rooms_gets_the_alias",
        "fuzz/test_concurrency.py::test_clients_that_hang_up",
        "fuzz/test_killed.py::test_killed_while_writing",
    ),
}


def missing_tests(named: Iterable[str]) -> list[str]:
    """Those of the tests (`directory/file.py::name`) that there are not."""
    missing = []
    for test in named:
        file, _, name = test.partition("::")
        defined = {
            node.name
            for node in ast.parse((TESTS / file).read_text()).body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        if name not in defined:
            missing.append(test)
    return missing


@pytest.mark.parametrize("item", COVERED)
def test_the_tests_of_each_kind_of_bad_input_exist(item: str) -> None:
    assert not missing_tests(COVERED[item]), f"gone: name the tests that cover {item!r} now"
