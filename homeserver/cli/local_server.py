"""Requests of the command line to the running server."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from homeserver.cli.banner import client_listener
from homeserver.cli.failures import CommandError
from homeserver.config import Settings

TIMEOUT_SECONDS = 30
MOST_BYTES = 65536


class LocalServer:
    """The running server. On this machine its certificate need not be one that can be checked."""

    def __init__(
        self, settings: Settings, url: str | None, remedies: Mapping[str, str] | None = None
    ) -> None:
        """`url`: its address, if it is not on this machine; `remedies`: by errcode what to do, `""` for all others.

        Raises CommandError.
        """
        self._remedies = remedies or {}
        if url is None:
            listener = client_listener(settings)
            if listener is None:
                raise CommandError("no listener serves clients; add the resource client, or give --url")
            self.base = listener.local_url
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            # A proxy of the environment is for the way out, not for this machine.
            handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)]
        else:
            if not url.startswith(("https://", "http://")):
                raise CommandError(
                    f'--url: found "{url}", but allowed is an address such as https://example.org'
                )
            self.base = url.rstrip("/")
            handlers = []
        self._opener = urllib.request.build_opener(*handlers)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request; the JSON object that it is answered with. Raises CommandError."""
        request = urllib.request.Request(
            self.base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                answer = json.loads(response.read(MOST_BYTES))
        except urllib.error.HTTPError as error:
            raise CommandError(self._refusal(error)) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise CommandError(
                f"the server does not answer at {self.base} ({reason}). Is it running? Start it with "
                "`python -m homeserver -c FILE`, or give its address with --url"
            ) from None
        if not isinstance(answer, dict):
            raise CommandError(f"what answers at {self.base} is not this server; give its address with --url")
        return answer

    def _refusal(self, error: urllib.error.HTTPError) -> str:
        try:
            answer = json.loads(error.read(MOST_BYTES))
            code, message = str(answer["errcode"]), str(answer.get("error", ""))
        except (OSError, ValueError, KeyError, TypeError):
            return f"what answers at {self.base} is not a homeserver (status {error.code}); give --url"
        remedy = self._remedies.get(code, self._remedies.get("", ""))
        return f"the server refused: {message} ({code}). {remedy}".rstrip()
