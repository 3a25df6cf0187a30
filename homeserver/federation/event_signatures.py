"""Which keys an event's signatures ask for, and whether the signatures hold. Pure.

Spec: https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from nacl.signing import VerifyKey

from homeserver.core.errors import InvalidEvent
from homeserver.core.events import Event
from homeserver.core.signing import event_signature_keys, required_signatures, verify_event_signature
from homeserver.federation import metrics
from homeserver.federation.key_responses import StoredKey

# A signature costs the same whether one key signed or a thousand; an event with more is an attempt to cost us
# time.
_MAX_SIGNATURES = 10


@dataclass
class SignatureQuestion:
    """One event whose signatures are to be checked.

    `key_ids`: for each server that must have signed, the keys with which it says that it did. `valid_until`:
    how long the keys must be valid by the room version's rules (0: however old), in milliseconds since the
    epoch. `problem` is set once the answer is known to be no.
    """

    event: Event
    key_ids: dict[str, list[str]]
    valid_until: int
    problem: str | None = None
    keys: dict[str, dict[str, VerifyKey]] = field(default_factory=dict)

    def choose_keys(
        self,
        find: Callable[[str, str], StoredKey | None],
        problem_of: Callable[[str, StoredKey | None, int, int], str | None],
    ) -> None:
        """Take the usable keys. "If a signature is from an unknown or expired key, it is skipped."

        `problem_of(server, key, valid_until, expired_after)` says why a key is not usable. "Any keys that are
        known to have expired prior to the event's origin_server_ts are ignored", in every room version.
        """
        for server, key_ids in self.key_ids.items():
            usable: dict[str, VerifyKey] = {}
            problems = []
            for key_id in key_ids:
                key = find(server, key_id)
                problem = problem_of(server, key, self.valid_until, self.event.origin_server_ts)
                if key is not None and problem is None:
                    usable[key_id] = VerifyKey(key.verify_key)
                else:
                    problems.append(f"{key_id}: {problem}")
            if not usable and self.problem is None:
                self.problem = f"no usable key for the signature of {server}: {'; '.join(problems)}"
            self.keys[server] = usable


def question_of(event: Event) -> SignatureQuestion:
    """What must be known to check the event.

    From room version 5 on "servers MUST enforce the valid_until_ts property from a key request is at least as
    large as the origin_server_ts for the event being validated".

    Spec: https://spec.matrix.org/v1.19/rooms/v5/#signing-key-validity-period
    """
    valid_until = event.origin_server_ts if event.rules.enforce_key_validity else 0
    question = SignatureQuestion(event, {}, valid_until)
    try:
        servers = required_signatures(event)
    except InvalidEvent as error:
        question.problem = error.reason
        return question
    for server in sorted(servers):
        key_ids = event_signature_keys(event, server)
        if not key_ids:
            question.problem = f"there is no signature of {server}"
            question.key_ids = {}
            return question
        question.key_ids[server] = key_ids[:_MAX_SIGNATURES]
    return question


def verify_batch(questions: Iterable[SignatureQuestion]) -> dict[str, str | None]:
    """Verify with the keys that were chosen: event ID to None, or to the reason. Takes time; run it in a
    thread.
    """
    results: dict[str, str | None] = {}
    for question in questions:
        problem = question.problem
        for server, keys in question.keys.items():
            if problem is None and not verify_event_signature(question.event, server, keys):
                problem = f"the signature of {server} with {', '.join(keys)} is wrong"
        metrics.event_signatures.labels("valid" if problem is None else "invalid").inc()
        results[question.event.event_id] = problem
    return results
