"""Server access control lists."""

import time
from typing import Any

import pytest

from homeserver.core.server_acl import server_acl_refusal

EVERYBODY = ["*"]


@pytest.mark.parametrize(
    ("acl", "server", "is_let_in"),
    [
        (None, "anyone.test", True),
        ({}, "anyone.test", False),
        ({"allow": []}, "anyone.test", False),
        ({"allow": EVERYBODY}, "anyone.test", True),
        ({"allow": EVERYBODY, "deny": ["evil.com"]}, "evil.com", False),
        ({"allow": EVERYBODY, "deny": ["evil.com"]}, "evil.com:8448", False),
        ({"allow": EVERYBODY, "deny": ["EVIL.com"]}, "Evil.COM", False),
        ({"allow": EVERYBODY, "deny": ["*.evil.com"]}, "a.evil.com", False),
        ({"allow": EVERYBODY, "deny": ["*.evil.com"]}, "evil.com", True),
        ({"allow": EVERYBODY, "deny": ["evil.co?"]}, "evil.com", False),
        ({"allow": EVERYBODY, "deny": ["evil.co?"]}, "evil.co", True),
        ({"allow": ["good.com"]}, "good.com.evil.com", False),
        ({"allow": ["good.com"]}, "goodXcom", False),
        ({"allow": EVERYBODY, "allow_ip_literals": False}, "1.2.3.4", False),
        ({"allow": EVERYBODY, "allow_ip_literals": False}, "1.2.3.4:8448", False),
        ({"allow": EVERYBODY, "allow_ip_literals": False}, "[::1]:8448", False),
        ({"allow": EVERYBODY, "allow_ip_literals": "no"}, "1.2.3.4", True),
        ({"allow": EVERYBODY, "deny": ["1.2.*"]}, "1.2.3.4:99", False),
        ({"allow": EVERYBODY, "deny": "evil.com"}, "evil.com", True),
        ({"allow": [7, None, "*"], "deny": [{}]}, "anyone.test", True),
    ],
)
def test_who_is_let_in(acl: dict[str, Any] | None, server: str, is_let_in: bool) -> None:
    assert (server_acl_refusal(acl, server) is None) is is_let_in


def test_a_pattern_that_should_take_long() -> None:
    started = time.perf_counter()
    assert server_acl_refusal({"allow": ["*" * 200 + "x"]}, "a" * 200 + ".test") is not None
    assert time.perf_counter() - started < 1
