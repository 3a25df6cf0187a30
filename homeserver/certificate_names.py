"""For which names a certificate is: by its alternative names, as everybody who checks one reads them. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

from cryptography import x509


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names and addresses that it is for."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = [str(address) for address in extension.get_values_for_type(x509.IPAddress)]
    return (*extension.get_values_for_type(x509.DNSName), *addresses)


def cover(names: Collection[str], host: str) -> bool:
    """Whether a certificate with these names is for a host name or an address (without brackets). A wildcard is for one label."""
    try:
        return str(ipaddress.ip_address(host)) in names
    except ValueError:
        wanted = host.lower().rstrip(".")
        parent = "*." + wanted.partition(".")[2]
        return any(each.lower() in (wanted, parent) for each in names)


def check_readable(certificate: x509.Certificate) -> None:
    """Raise ValueError for a certificate of which a part cannot be read: they are parsed when they are asked for."""
    try:
        names_of(certificate)
        certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
        certificate.not_valid_after_utc, certificate.not_valid_before_utc  # noqa: B018
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, TypeError) as error:
        raise ValueError(str(error)) from error
