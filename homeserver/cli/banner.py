"""What the log says when the server is up: where it is, and what to do next."""

from __future__ import annotations

import ipaddress
import shlex
import sys
from importlib.metadata import version

from homeserver.cli.check_config import needs_own_certificate
from homeserver.config import Listener, Settings
from homeserver.config.settings import ANY_ADDRESS


def lines(settings: Settings) -> list[str]:
    """The lines of the banner, for INFO."""
    name = settings.server_name
    return [
        f"homeserver {version('homeserver')} is ready: this is {name}",
        *(f"  {line}" for line in _reached_at(settings)),
        "Next:",
        *(f"  {line}" for line in _next_steps(settings)),
    ]


def client_listener(settings: Settings) -> Listener | None:
    """The listener to use from this machine for the client API: a plain one rather than one with TLS."""
    usable = [each for each in settings.server.listeners if "client" in each.resource_names]
    return min(usable, key=lambda each: each.tls, default=None)


def is_public(settings: Settings) -> bool:
    """Whether the server's name could be one of the Internet, as far as the name tells."""
    host = settings.server_name.host.strip("[]")
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith((".localhost", ".local", ".internal", ".test", ".example"))


def _reached_at(settings: Settings) -> list[str]:
    found = []
    for listener in settings.server.listeners:
        audience = " and ".join(
            word
            for resource, word in (("client", "clients"), ("federation", "servers"))
            if resource in listener.resource_names
        )
        everywhere = ANY_ADDRESS.intersection(listener.bind_addresses)
        where = "all addresses" if everywhere else ", ".join(listener.bind_addresses)
        protocol = "TLS" if listener.tls else "plain HTTP"
        found.append(f"port {listener.port} on {where}: {protocol}, for {audience or 'other uses'}")
    found.append(f"clients:  {settings.server.public_baseurl}{_from_here(settings)}")
    name = settings.server_name
    if not is_public(settings):
        found.append("servers:  this name means nothing outside this machine or network, so only those in it")
    elif name.port is not None:
        found.append(f"servers:  find {name} by port {name.port} of that name")
    else:
        found.append(f"servers:  find {name} by its /.well-known/matrix/server, its SRV record, or port 8448")
    acme = settings.tls.acme
    if acme.enabled:
        found.append(
            f"certificate: obtained and renewed for {', '.join(acme.domains)} from {acme.directory_url}"
        )
    elif needs_own_certificate(settings):
        found.append(
            "certificate: self-signed, made by this server. Other servers and most clients want one that "
            "they can check, here or in a reverse proxy: docs/federation.md"
        )
    return found


def _from_here(settings: Settings) -> str:
    listener = client_listener(settings)
    return f", on this machine {listener.local_url}" if listener else ""


def _next_steps(settings: Settings) -> list[str]:
    steps = []
    config = f" -c {shlex.quote(str(settings.config_path))}" if settings.config_path else ""
    if settings.registration.registration_shared_secret is not None:
        steps.append(f"create a user: {shlex.quote(sys.executable)} -m homeserver{config} register-user NAME")
    elif settings.registration.enable_registration:
        steps.append("create a user: with any client, registration is open")
    else:
        steps.append("create a user: set registration_shared_secret in the configuration, then start again")
    listener = client_listener(settings)
    address = settings.server.public_baseurl if is_public(settings) or not listener else listener.local_url
    steps.append(f"log in with a client such as Element, homeserver {address}")
    if is_public(settings):
        steps.append("open the room directory (in Element: Explore rooms) and choose the server matrix.org")
        steps.append(f"check federation: {shlex.quote(sys.executable)} -m homeserver{config} doctor")
    else:
        steps.append("open the room directory (in Element: Explore rooms); rooms of this server stand there")
        steps.append("check federation: it needs a name that others can reach, docs/federation.md")
    return steps
