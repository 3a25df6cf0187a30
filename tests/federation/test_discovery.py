"""The pure part of the discovery."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.federation.discovery import (
    Answer,
    Candidate,
    Destination,
    DiscoveryError,
    FetchWellKnown,
    LookUpSRV,
    Question,
    SRVAnswer,
    WellKnownAnswer,
    discover,
    order_srv,
)
from homeserver.federation.names import SRVRecord


def drive(server_name: str, answer: Callable[[Question], Answer]) -> tuple[Destination, list[Question]]:
    steps = discover(server_name, lambda: 0.5)
    asked: list[Question] = []
    try:
        question = next(steps)
        while True:
            asked.append(question)
            question = steps.send(answer(question))
    except StopIteration as finished:
        return finished.value, asked


def nothing(question: Question) -> Answer:
    if isinstance(question, FetchWellKnown):
        return WellKnownAnswer(None, "answered with status 404")
    return SRVAnswer((), "no record")


def test_all_steps_are_recorded_with_their_outcome() -> None:
    destination, asked = drive("matrix.example", nothing)
    assert asked == [
        FetchWellKnown("matrix.example"),
        LookUpSRV("_matrix-fed._tcp.matrix.example"),
        LookUpSRV("_matrix._tcp.matrix.example"),
    ]
    assert [(step.section, step.outcome, step.decided) for step in destination.steps] == [
        ("3", "answered with status 404", False),
        ("4", "no record", False),
        ("5", "no record", False),
        ("6", "matrix.example port 8448", True),
    ]


@pytest.mark.parametrize(
    ("name", "candidate", "host_header"),
    [
        ("[2001:db8::1]", Candidate("2001:db8::1", 8448), "[2001:db8::1]"),
        ("[2001:db8::1]:99", Candidate("2001:db8::1", 99), "[2001:db8::1]:99"),
        ("127.000.000.010", Candidate("127.0.0.10", 8448), "127.000.000.010"),
        ("host.example:1", Candidate("host.example", 1), "host.example:1"),
    ],
)
def test_nothing_is_asked_for_literals_and_ports(name: str, candidate: Candidate, host_header: str) -> None:
    destination, asked = drive(name, nothing)
    assert not asked
    assert destination.candidates == (candidate,)
    assert destination.host_header == host_header
    assert destination.tls_name == candidate.host


def test_a_delegation_is_not_followed_twice() -> None:
    def answer(question: Question) -> Answer:
        if isinstance(question, FetchWellKnown):
            return WellKnownAnswer("other.example", "")
        return nothing(question)

    destination, asked = drive("matrix.example", answer)
    assert [type(question) for question in asked] == [FetchWellKnown, LookUpSRV, LookUpSRV]
    assert destination.candidates == (Candidate("other.example", 8448),)
    assert destination.delegated == "other.example"


def test_a_service_declared_absent_is_not_looked_for_elsewhere() -> None:
    def answer(question: Question) -> Answer:
        if isinstance(question, LookUpSRV):
            return SRVAnswer((SRVRecord("", 0),), "found")
        return nothing(question)

    with pytest.raises(DiscoveryError) as caught:
        drive("matrix.example", answer)
    assert [step.section for step in caught.value.steps] == ["3", "4"]


def test_an_invalid_name_is_refused() -> None:
    with pytest.raises(DiscoveryError):
        drive("a b", nothing)


RECORDS = st.lists(
    st.builds(
        SRVRecord,
        st.sampled_from(["a.example", "b.example", "c.example"]),
        st.integers(1, 65535),
        st.integers(0, 3),
        st.integers(0, 100),
    ),
    max_size=8,
)


@given(RECORDS, st.randoms(use_true_random=False))
def test_srv_order_keeps_every_record_and_the_priorities(
    records: list[SRVRecord], source: random.Random
) -> None:
    ordered = order_srv(records, source.random)
    assert Counter(ordered) == Counter(records)
    assert [record.priority for record in ordered] == sorted(record.priority for record in records)


def test_srv_order_follows_the_weights() -> None:
    source = random.Random(1)
    records = [SRVRecord("heavy", 1, 0, 75), SRVRecord("light", 1, 0, 25)]
    first = Counter(order_srv(records, source.random)[0].target for _ in range(2000))
    assert 1400 < first["heavy"] < 1600
