"""The section `acme`: its older names, and what it leaves to other settings."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec

from .convert import Problem, Report
from .settings import ACMESettings, Settings
from .values import DomainName, parse_domain_name

OLDER_NAMES = {"url": "directory_url", "domain": "domains"}
"""What Synapse called it to what it is called here."""

VERSION_1 = "//acme-v01."
"""In the addresses of servers that speak the first version of ACME, of which there are none any more."""


def rename_older(document: dict[str, Any], report: Report) -> None:
    """Take what an old Synapse's section says, by the names of today."""
    section = document.get("acme")
    if not isinstance(section, dict):
        return
    section = document["acme"] = {key: value for key, value in section.items() if value is not None}
    for older, newer in OLDER_NAMES.items():
        if older not in section:
            continue
        value = section.pop(older)
        if newer in section:
            message = f'this is the older name of "acme.{newer}", which is given too; remove one of them'
            report.errors.append(Problem(f"acme.{older}", message))
        elif older == "url" and isinstance(value, str) and VERSION_1 in value:
            message = (
                f"{value} is gone; acme.directory_url says which server is asked, by default Let's Encrypt"
            )
            report.warnings.append(Problem("acme.url", message))
        else:
            section[newer] = [value] if older == "domain" else value


def complete(settings: Settings, report: Report) -> ACMESettings:
    """The section with its defaults that other settings give, checked against them."""
    acme = settings.tls.acme
    if not acme.enabled:
        return acme
    if settings.tls.tls_certificate_path is not None:
        message = (
            "true, and tls_certificate_path is given too. Remove one of them: the server obtains its certificate, or takes "
            "the one in the file"
        )
        report.errors.append(Problem("acme.enabled", message))
    if not any(listener.tls for listener in settings.server.listeners):
        message = (
            "true, but no entry of listeners has tls: true, so there is nothing to use a certificate for"
        )
        report.errors.append(Problem("acme.enabled", message))
    if not acme.challenges:
        report.error("acme.challenges", [], "at least one of tls-alpn-01 and http-01")
    for index, listener in enumerate(settings.server.listeners):
        if listener.port == acme.port and "http-01" in acme.challenges:
            message = (
                f"{acme.port} is the port of listeners[{index}] too, so http-01 cannot work; give another one, "
                "or leave http-01 out"
            )
            report.warnings.append(Problem("acme.port", message))
    domains = acme.domains or _default_domains(settings, report)
    key_file = acme.account_key_file or settings.server.data_directory / "acme" / "account.key"
    return msgspec.structs.replace(acme, domains=tuple(dict.fromkeys(domains)), account_key_file=key_file)


def _default_domains(settings: Settings, report: Report) -> tuple[DomainName, ...]:
    """The host that others connect to: that of public_baseurl, which is that of server_name where nothing else is said."""
    host = urlsplit(settings.server.public_baseurl).hostname or ""
    try:
        return (parse_domain_name(host),)
    except ValueError:
        message = f"needed, because {host}, the host of public_baseurl, is no name in the DNS for which there are certificates"
        report.errors.append(Problem("acme.domains", message))
        return ()
