"""When to obtain a certificate, by which challenge, and what an ACME server's problems mean."""

import datetime

import pytest
from acme import messages

from homeserver.acme.explain import LONGEST, explain
from homeserver.acme.schedule import (
    WAIT_WHEN_LIMITED,
    order_of_challenges,
    renewal_time,
    wait_after,
    wait_when_limited,
)
from homeserver.config.settings import ChallengeType

NOW = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
TLS: ChallengeType = "tls-alpn-01"
HTTP: ChallengeType = "http-01"


@pytest.mark.parametrize(
    ("lifetime_days", "threshold_days", "renewed_before_days"),
    [(90, 30, 30), (365, 30, 30), (90, 10, 10), (6, 30, 2), (90, 80, 30)],
)
def test_when_a_certificate_is_renewed(
    lifetime_days: int, threshold_days: int, renewed_before_days: int
) -> None:
    end = NOW + datetime.timedelta(days=lifetime_days)
    assert renewal_time(NOW, end, threshold_days) == end - datetime.timedelta(days=renewed_before_days)


def test_the_wait_grows_with_each_failure_to_a_day() -> None:
    minutes = [wait_after(failures).total_seconds() / 60 for failures in range(1, 10)]
    assert minutes == [15, 30, 60, 120, 240, 480, 960, 1440, 1440]
    assert wait_after(10**6) == datetime.timedelta(days=1)


@pytest.mark.parametrize(
    ("detail", "wait"),
    [
        ("too many certificates, retry after 2026-01-02 12:00:00 UTC: see https://x", {"days": 1}),
        ("retry after 2026-01-01T14:00:00Z", {"hours": 2}),
        ("retry after 2025-01-01 00:00:00 UTC", {"minutes": 15}),
        ("retry after 2099-01-01 00:00:00 UTC", {"days": 8}),
        ("retry after 2026-13-45 00:00:00 UTC", {"hours": 3}),
        ("slow down", {"hours": 3}),
    ],
)
def test_how_long_an_authority_is_left_alone(detail: str, wait: dict[str, int]) -> None:
    assert wait_when_limited(detail, NOW) == datetime.timedelta(**wait)
    assert datetime.timedelta(hours=3) == WAIT_WHEN_LIMITED


@pytest.mark.parametrize(
    ("allowed", "ports", "worked", "order"),
    [
        ((TLS, HTTP), [443], None, (TLS, HTTP)),
        ((TLS, HTTP), [8448], None, (HTTP, TLS)),
        ((TLS, HTTP), [8448], TLS, (TLS, HTTP)),
        ((TLS, HTTP), [443, 8448], HTTP, (HTTP, TLS)),
        ((TLS,), [8448], HTTP, (TLS,)),
    ],
)
def test_the_likely_challenge_comes_first(
    allowed: tuple[ChallengeType, ...],
    ports: list[int],
    worked: str | None,
    order: tuple[ChallengeType, ...],
) -> None:
    assert order_of_challenges(allowed, ports, worked) == order


def problem(code: str, detail: str = "It failed.", *inner: messages.Error) -> messages.Error:
    return messages.Error(typ=f"urn:ietf:params:acme:error:{code}", detail=detail, subproblems=inner or None)


@pytest.mark.parametrize(
    ("code", "challenge", "remedy"),
    [
        ("connection", HTTP, "port 80 of a.example must reach this server"),
        ("unauthorized", HTTP, "port 80 of a.example must reach this server"),
        ("connection", TLS, "port 443 of a.example must reach a listener with tls: true"),
        ("tls", TLS, "If something else ends TLS on that port"),
        ("dns", HTTP, "give a.example an A or AAAA record"),
        ("caa", TLS, "the CAA record of a.example"),
        ("rateLimited", None, "staging directory"),
        ("externalAccountRequired", None, "not supported"),
        ("rejectedIdentifier", None, "no certificate for a.example"),
    ],
)
def test_a_problem_says_what_to_do(code: str, challenge: str | None, remedy: str) -> None:
    said = explain(problem(code), "a.example", challenge)
    assert said.startswith(f"It failed ({code}). What to do: ")
    assert remedy in said


def test_an_unknown_problem_is_told_as_it_is() -> None:
    assert explain(problem("strange", "No."), "a.example") == "No (strange)"


def test_problems_in_problems_are_told_once_each() -> None:
    inner = problem("dns", "No address.")
    said = explain(problem("compound", "Several.", inner, inner), "a.example", HTTP)
    assert said == (
        "Several (compound). No address (dns). What to do: give a.example an A or AAAA record with the address of this machine, "
        "and see that its name servers answer"
    )


def test_another_servers_text_stays_in_its_line() -> None:
    said = explain(problem("strange", "a\nb\x1b[31m" + "x" * 10_000), "a.example")
    assert said.startswith("a b [31mxxx")
    assert len(said) < LONGEST + 50
    assert "{name}" not in explain(problem("dns", "{name} {0}"), "a.example", HTTP).partition("What to do")[2]
