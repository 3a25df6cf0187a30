"""Requests to an ACME server, by the library `acme`, which waits for its answers: so each of them runs in a thread.

Spec: https://www.rfc-editor.org/rfc/rfc8555
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import requests
from acme import client, errors, messages
from josepy.errors import Error as JoseError
from josepy.jwa import ES256, RS256
from josepy.jwk import JWK, JWKRSA

from .errors import ACMEError
from .explain import code_of, explain, printable
from .schedule import wait_when_limited

log = logging.getLogger(__name__)

TIMEOUT_S = 15
POLL_EVERY_S = 1.0
PATIENCE_S = 120.0
"""How long an authorization, and then the certificate, may take."""

Result = TypeVar("Result")


class Authority:
    """An ACME server with our account there, for one order."""

    def __init__(self, directory_url: str, key: JWK, ca_file: Path | None, names: tuple[str, ...]) -> None:
        """`ca_file`: certificates by which the server itself is checked; None: those of the public authorities."""
        self.url = directory_url
        self.key = key
        self._names = names
        algorithm = RS256 if isinstance(key, JWKRSA) else ES256
        self._network = client.ClientNetwork(key, alg=algorithm, user_agent="homeserver", timeout=TIMEOUT_S)
        if ca_file is not None:
            # requests takes a path in the place of True.
            self._network.verify_ssl = str(ca_file)  # type: ignore[assignment]
        self._client: client.ClientV2 | None = None

    async def connect(self, email: str | None) -> None:
        """Find the server's addresses, and our account, which is made if there is none for the key. Raises ACMEError."""
        await self._call(self._connect, email)

    def _connect(self, email: str | None) -> None:
        found = client.ClientV2(client.ClientV2.get_directory(self.url, self._network), self._network)
        registration = messages.NewRegistration.from_data(email=email, terms_of_service_agreed=True)
        try:
            found.new_account(registration)
            # The library has no attribute where the server says nothing.
            meta = getattr(found.directory, "meta", None)
            terms = printable(str(getattr(meta, "terms_of_service", None) or "none are named"))
            log.info(
                "An account was made at %s. Its terms, to which acme.enabled agrees: %s", self.url, terms
            )
        except errors.ConflictError as known:
            # For a key that is known the server tells the account's address, and changes nothing.
            self._network.account = messages.RegistrationResource(body=registration, uri=known.location)
        self._client = found

    @property
    def _connected(self) -> client.ClientV2:
        assert self._client is not None, "connect first"
        return self._client

    @property
    def account_url(self) -> str:
        """The account's address."""
        assert self._network.account is not None, "connect first"
        return str(self._network.account.uri)

    async def new_order(self, signing_request: bytes) -> messages.OrderResource:
        """Ask for a certificate; the order has the authorizations that are wanted for it. Raises ACMEError."""
        return await self._call(self._connected.new_order, signing_request)

    async def answer(self, challenge: messages.ChallengeBody) -> None:
        """Say that the challenge may be looked at. Raises ACMEError."""
        await self._call(self._connected.answer_challenge, challenge, challenge.chall.response(self.key))

    async def decision(self, authorization: messages.AuthorizationResource) -> messages.Authorization:
        """The authorization when it is decided: valid, or invalid and then with the challenge's error. Raises ACMEError."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    authorization, _ = await self._call(self._connected.poll, authorization)
                    if authorization.body.status not in (messages.STATUS_PENDING, messages.STATUS_PROCESSING):
                        return authorization.body
                    await asyncio.sleep(POLL_EVERY_S)
        except TimeoutError:
            raise ACMEError(
                f"{self.url} has not looked at the challenge within {PATIENCE_S:.0f} seconds"
            ) from None

    async def certificate(self, order: messages.OrderResource) -> bytes:
        """The certificate of an order whose authorizations are valid, with its chain, in PEM form. Raises ACMEError."""
        await self._call(self._begin_finalization, order)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (chain := await self._call(self._look_for_certificate, order)) is None:
                    pass
        except TimeoutError:
            raise ACMEError(
                f"{self.url} has not made the certificate within {PATIENCE_S:.0f} seconds"
            ) from None
        return chain.encode()

    def _begin_finalization(self, order: messages.OrderResource) -> None:
        try:
            self._connected.begin_finalization(order)
        except messages.Error as problem:
            # Then looking for the certificate does it again, when the order is ready.
            if code_of(problem) != "orderNotReady":
                raise

    def _look_for_certificate(self, order: messages.OrderResource) -> str | None:
        """One look, a second from now: a thread that waits for long would hold up the server's end."""
        try:
            # The library compares local times.
            soon = datetime.datetime.now() + datetime.timedelta(seconds=0.1)
            return self._connected.poll_finalization(order, soon).fullchain_pem
        except errors.TimeoutError:
            return None

    async def _call(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Run in a thread what asks the server, and say what is wrong in words."""
        try:
            return await asyncio.to_thread(function, *arguments)
        except messages.Error as problem:
            raise self._refusal(problem) from None
        except errors.IssuanceError as failure:
            raise self._refusal(failure.error) from None
        except requests.RequestException as failure:
            raise ACMEError(
                f"{self.url} cannot be reached: {printable(str(failure))}. What to do: see that this machine may connect to "
                "it, and that the address is right (acme.directory_url)"
            ) from None
        except (
            errors.Error,
            JoseError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
        ) as failure:
            raise ACMEError(
                f"{self.url} does not answer as an ACME server does ({type(failure).__name__}: {printable(str(failure))}). "
                "What to do: see whether acme.directory_url is the address of a directory of ACME version 2"
            ) from None

    def _refusal(self, problem: messages.Error) -> ACMEError:
        name = problem.identifier.value if problem.identifier else ", ".join(self._names)
        wait = None
        if code_of(problem) == "rateLimited":
            wait = wait_when_limited(problem.detail or "", datetime.datetime.now(datetime.UTC))
        return ACMEError(f"{self.url} refuses: {explain(problem, name)}", wait)
