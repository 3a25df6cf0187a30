"""The section `acme` of homeserver.yaml."""

from pathlib import Path
from typing import Any

import pytest

from homeserver.config import ACMESettings, ConfigError, Loaded, settings_from

BASE = Path("/srv/matrix")


def load(acme: dict[str, Any], **more: Any) -> Loaded:
    return settings_from({"server_name": "example.org", "acme": acme, **more}, base=BASE)


def section(acme: dict[str, Any], **more: Any) -> ACMESettings:
    return load(acme, **more).settings.tls.acme


def error(acme: dict[str, Any], **more: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        load(acme, **more)
    return "\n".join(str(each) for each in raised.value.problems)


def test_one_line_is_enough() -> None:
    found = section({"enabled": True})
    assert found.domains == ("example.org",)
    assert found.account_key_file == BASE / "data/acme/account.key"
    assert found.directory_url == "https://acme-v02.api.letsencrypt.org/directory"


@pytest.mark.parametrize(
    ("more", "domain"),
    [
        ({"server_name": "example.org:8449"}, "example.org"),
        ({"public_baseurl": "https://matrix.example.org/"}, "matrix.example.org"),
        ({"public_baseurl": "https://matrix.example.org:8448/x"}, "matrix.example.org"),
    ],
)
def test_the_name_is_where_others_connect_to(more: dict[str, Any], domain: str) -> None:
    assert section({"enabled": True}, **more).domains == (domain,)


def test_an_old_synapses_section_is_taken() -> None:
    old = {
        "enabled": True,
        "url": "https://acme-v02.api.letsencrypt.org/directory",
        "port": 9009,
        "bind_addresses": ["::", "0.0.0.0"],
        "reprovision_threshold": 20,
        "domain": "Matrix.example.com",
        "account_key_file": "/DATADIR/acme_account.key",
    }
    loaded = load(old)
    assert loaded.warnings == ()
    found = loaded.settings.tls.acme
    assert (found.port, found.reprovision_threshold) == (9009, 20)
    assert found.domains == ("matrix.example.com",)
    assert found.account_key_file == Path("/DATADIR/acme_account.key")


def test_what_is_gone_is_named_in_a_warning() -> None:
    loaded = load({"enabled": True, "url": "https://acme-v01.api.letsencrypt.org/directory"})
    (warning,) = loaded.warnings
    assert warning.path == "acme.url"
    assert loaded.settings.tls.acme.directory_url == ACMESettings().directory_url


def test_one_that_is_switched_off_says_nothing() -> None:
    files = {"tls_certificate_path": "a", "tls_private_key_path": "b"}
    assert load({"enabled": False, "url": None}, **files).warnings == ()


def test_our_own_listener_in_the_way_is_named() -> None:
    listeners = [{"port": 80}, {"port": 443, "tls": True}]
    (warning,) = load({"enabled": True}, listeners=listeners).warnings
    assert "80 is the port of listeners[0] too" in str(warning)
    assert load({"enabled": True, "challenges": ["tls-alpn-01"]}, listeners=listeners).warnings == ()


@pytest.mark.parametrize(
    ("acme", "more", "said"),
    [
        ({}, {"tls_certificate_path": "a", "tls_private_key_path": "b"}, "Remove one of them"),
        ({}, {"listeners": [{"port": 8008}]}, "no entry of listeners has tls: true"),
        ({}, {"server_name": "192.0.2.1"}, "acme.domains: needed"),
        ({}, {"server_name": "[2001:db8::1]:8448"}, "acme.domains: needed"),
        ({"challenges": []}, {}, "at least one of"),
        ({"challenges": ["dns-01"]}, {}, "acme.challenges[0]"),
        ({"domains": ["*.example.org"]}, {}, "acme.domains[0]"),
        ({"domains": ["192.0.2.1"]}, {}, "acme.domains[0]"),
        ({"domains": ["a.example"], "domain": "b.example"}, {}, "the older name of"),
        ({"directory_url": "http://ca.example/dir"}, {}, "https:// only"),
        ({"reprovision_threshold": 0}, {}, "acme.reprovision_threshold"),
    ],
)
def test_what_cannot_work_is_an_error(acme: dict[str, Any], more: dict[str, Any], said: str) -> None:
    assert said in error({"enabled": True, **acme}, **more)
