"""Wires the certificate of the TLS listeners: how it is watched, and how ACME brings it."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from homeserver.acme import CertificateRenewal
from homeserver.acme.responders import HTTP01Responder, TLSALPN01Responder
from homeserver.app.listeners import addresses_to_bind
from homeserver.certificate_watch import CertificateWatch
from homeserver.config import Settings
from homeserver.tls import CertificateStore, acme_directory


def certificate_renewal(
    settings: Settings,
    certificates: CertificateStore,
    watch: CertificateWatch,
    clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
) -> CertificateRenewal:
    """What obtains and renews the certificate of these settings by ACME."""
    acme, directory = settings.tls.acme, acme_directory(settings)
    responders = (
        HTTP01Responder(addresses_to_bind(acme.bind_addresses), acme.port),
        TLSALPN01Responder(certificates, directory),
    )
    tls_ports = [listener.port for listener in settings.server.listeners if listener.tls]
    return CertificateRenewal(acme, directory, watch, responders, tls_ports, clock)
