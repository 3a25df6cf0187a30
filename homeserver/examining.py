"""The doctor with this server's settings: what it trusts, what it may reach, and what it knows of itself."""

from __future__ import annotations

from pathlib import Path

from homeserver.certificate_files import CertificateFiles
from homeserver.config import Settings, load_signing_keys
from homeserver.doctor import Examination, Examiner, Own, Probes, ProbeSettings
from homeserver.doctor.examination import LONG_POLL_SECONDS
from homeserver.federation.addresses import AddressFilter
from homeserver.federation.own_keys import OwnKeys


async def examine(
    server_name: str, settings: Settings | None, *, long_poll_s: float = LONG_POLL_SECONDS
) -> Examination:
    """Examine a server from this machine, wherever its name leads. long_poll_s: 0 to leave the long poll out.

    settings: those of our own server, whose authorities and address ranges count; when it is this server that is examined, it is
    also held against its own keys and asked what arrives. None: as any server would see it.
    Raises ConfigError when the signing key cannot be read.
    """
    reachable, own = AddressFilter(), None
    authorities: tuple[Path, ...] = ()
    if settings is not None:
        federation = settings.federation
        authorities = federation.federation_custom_ca_list
        reachable = AddressFilter(federation.federation_ip_range_blocklist, federation.ip_range_allowlist)
        if server_name == settings.server_name:
            own = _own(settings, long_poll_s)
    # Whoever runs the doctor may look wherever this machine can; what others would refuse is a finding.
    probes = Probes(ProbeSettings(AddressFilter(()), authorities))
    try:
        return await Examiner(probes, reachable, own).examine(server_name)
    finally:
        await probes.close()


def _own(settings: Settings, long_poll_s: float) -> Own:
    keys = OwnKeys(str(settings.server_name), load_signing_keys(settings.keys.signing_key_path))
    return Own(
        keys,
        str(settings.server.public_baseurl),
        settings.media.max_upload_size,
        long_poll_s,
        is_delegated=settings.server.serve_server_wellknown and settings.server_name.port is None,
        listeners=tuple(each.local_url for each in settings.server.listeners),
        certificate_files=_certificate_files(settings),
    )


def _certificate_files(settings: Settings) -> CertificateFiles | None:
    """Those that somebody else made, and that are served."""
    certificate, private_key = settings.tls.tls_certificate_path, settings.tls.tls_private_key_path
    if certificate is None or private_key is None or not any(each.tls for each in settings.server.listeners):
        return None
    return CertificateFiles(certificate, private_key)
