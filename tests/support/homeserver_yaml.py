"""The part of homeserver.yaml that Synapse and our server read alike."""

from pathlib import Path
from typing import Any

from .network import CLIENT_PORT, Network, Site

REGISTRATION_SHARED_SECRET = "registration secret of the tests"
UNLIMITED = {"per_second": 100_000, "burst_count": 100_000}

# Tests may hurry.
RATE_LIMITS: dict[str, Any] = {
    **dict.fromkeys(
        (
            "rc_message",
            "rc_registration",
            "rc_registration_token_validity",
            "rc_admin_redaction",
            "rc_key_requests",
            "rc_third_party_invite",
            "rc_media_create",
            "rc_room_creation",
            "rc_reports",
            "rc_user_directory",
            "rc_joins_per_room",
        ),
        UNLIMITED,
    ),
    "rc_login": {"address": UNLIMITED, "account": UNLIMITED, "failed_attempts": UNLIMITED},
    "rc_joins": {"local": UNLIMITED, "remote": UNLIMITED},
    "rc_invites": {"per_room": UNLIMITED, "per_user": UNLIMITED, "per_issuer": UNLIMITED},
    "rc_presence": {"per_user": UNLIMITED},
    "rc_federation": {
        "window_size": 1000,
        "sleep_limit": 100_000,
        "sleep_delay": 1,
        "reject_limit": 100_000,
        "concurrent": 100,
    },
}


def shared_configuration(net: Network, site: Site, directory: Path) -> dict[str, Any]:
    """Everything but the database and what only one of the servers knows."""
    listener = {"type": "http", "bind_addresses": [site.address]}
    return {
        "server_name": site.server_name,
        "public_baseurl": f"{site.client_url}/",
        "pid_file": str(directory / "pid"),
        "listeners": [
            {**listener, "port": CLIENT_PORT, "resources": [{"names": ["client"]}]},
            {
                **listener,
                "port": site.federation_port,
                "tls": True,
                "resources": [{"names": ["client", "federation"]}],
            },
        ],
        "tls_certificate_path": str(site.certificate),
        "tls_private_key_path": str(site.private_key),
        "federation_custom_ca_list": [str(net.ca_path)],
        "signing_key_path": str(directory / "signing.key"),
        "media_store_path": str(directory / "media"),
        "registration_shared_secret": REGISTRATION_SHARED_SECRET,
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "trusted_key_servers": [],
        # Everything is on loopback, which is blocked otherwise (an empty blocklist means the default one).
        "ip_range_whitelist": ["127.83.0.0/16"],
        "allow_public_rooms_over_federation": True,
        "allow_public_rooms_without_auth": True,
        # After an outage a server waits ten minutes before it tries again; tests do not.
        "federation": {
            "destination_min_retry_interval": "1s",
            "destination_max_retry_interval": "2s",
            "destination_retry_multiplier": 1,
        },
        **RATE_LIMITS,
    }
