"""What the demo writes before its servers start: certificates, signing keys, a homeserver.yaml each."""

from __future__ import annotations

import json
import shlex

from authority import Authority
from layout import SERVERS, Demo

from homeserver.config import create_signing_key

TEMPLATE = """\
# {name}, one of the three servers of the demo. docs/configuration.md explains every setting.

server_name: {server_name}
public_baseurl: {client_url}/
# Relative paths are taken from this directory.
data_directory: .
signing_key_path: signing.key

# The other servers come over TLS; clients of this machine have a plain port of their own.
listeners:
  - {{port: {federation_port}, bind_addresses: [127.0.0.1], type: http, tls: true,
     resources: [{{names: [client, federation]}}]}}
  - {{port: {client_port}, bind_addresses: [127.0.0.1], type: http,
     resources: [{{names: [client]}}]}}
tls_certificate_path: tls.crt
tls_private_key_path: tls.key

# A federation of three: they trust the demo's own authority, and ask no other server for keys.
federation_custom_ca_list: [../authority.pem]
federation_domain_whitelist: {whitelist}
trusted_key_servers: []

# This machine's own address is blocked for federation otherwise.
ip_range_allowlist: [127.0.0.0/8, "::1/128"]

# After an outage a server is tried again soon: here somebody is watching.
federation:
  destination_min_retry_interval: 1s
  destination_retry_multiplier: 1
  destination_max_retry_interval: 1s

# scripts/demo makes the accounts with this.
registration_shared_secret: {secret}

allow_public_rooms_over_federation: true

# You may try the servers as hard as you like.
rc_message: &unlimited {{per_second: 1000, burst_count: 1000}}
rc_registration: *unlimited
rc_login: {{address: *unlimited, account: *unlimited, failed_attempts: *unlimited}}
rc_joins: {{local: *unlimited, remote: *unlimited}}
rc_joins_per_room: *unlimited
rc_room_creation: *unlimited
rc_invites: {{per_room: *unlimited, per_user: *unlimited, per_issuer: *unlimited}}
rc_federation: {{sleep_limit: 1000, reject_limit: 1000, concurrent: 50}}
"""


def write_files(demo: Demo) -> None:
    """Everything that is not there yet. A start that was interrupted goes on with this."""
    servers = list(demo.servers.values())
    if all(server.config_path.exists() for server in servers):
        return
    authority = Authority(demo.directory / "authority.pem")
    for server in servers:
        server.directory.mkdir(exist_ok=True)
        authority.issue(
            f"{server.name}.localhost", server.directory / "tls.crt", server.directory / "tls.key"
        )
        if not (server.directory / "signing.key").exists():
            create_signing_key(server.directory / "signing.key")
    whitelist = json.dumps([server.server_name for server in servers])  # JSON is YAML too
    for server in servers:  # last, for they say that all is there
        server.config_path.touch(mode=0o600)
        text = TEMPLATE.format(
            name=server.name,
            server_name=json.dumps(server.server_name),
            client_url=server.client_url,
            federation_port=server.federation_port,
            client_port=server.client_port,
            whitelist=whitelist,
            secret=json.dumps(demo.shared_secret),
        )
        server.config_path.write_text(text, encoding="utf-8")


def write_shell_variables(demo: Demo) -> None:
    """demo/env: what curl commands need, for `. demo/env` in a shell."""
    lines = ["# For a shell: . demo/env", f"ROOM={shlex.quote(demo.room_id or '')}"]
    for server in demo.servers.values():
        token = demo.person(server).token or ""
        lines.append(f"{server.name.upper()}={server.client_url}")
        lines.append(f"{SERVERS[server.name].upper()}={shlex.quote(token)}")
    path = demo.directory / "env"
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
