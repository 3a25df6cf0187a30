"""One order, from its beginning to the certificate."""

from __future__ import annotations

from acme import crypto_util, messages

from .authority import Authority
from .errors import ChallengeFailed
from .explain import explain
from .keys import new_private_key
from .responders import Responder


async def obtain(authority: Authority, names: tuple[str, ...], responder: Responder) -> bytes:
    """A new private key and the certificate for it with its chain, in PEM form.

    Raises ACMEError; ChallengeFailed when another responder may have more luck.
    """
    async with responder:
        private_key = new_private_key()
        order = await authority.new_order(crypto_util.make_csr(private_key, list(names)))
        pending = [each for each in order.authorizations if each.body.status != messages.STATUS_VALID]
        chosen = [(each, _challenge(each, responder.kind)) for each in pending]
        for authorization, challenge in chosen:
            await responder.present(_name_of(authorization), challenge.chall, authority.key)
        for _, challenge in chosen:
            await authority.answer(challenge)
        # All are looked at, so that all that is wrong is told at once.
        decided = [(each, await authority.decision(each)) for each, _ in chosen]
        refused = [
            f"{_name_of(each)}: {_refusal(each, body, responder.kind)}"
            for each, body in decided
            if body.status != messages.STATUS_VALID
        ]
        if refused:
            raise ChallengeFailed(f"{authority.url} has looked, and refuses. " + "; ".join(refused))
        return private_key + await authority.certificate(order)


def _name_of(authorization: messages.AuthorizationResource) -> str:
    return str(authorization.body.identifier.value).lower()


def _challenge(authorization: messages.AuthorizationResource, kind: str) -> messages.ChallengeBody:
    for challenge in authorization.body.challenges:
        # Of unknown challenges the library keeps the JSON alone.
        if getattr(challenge.chall, "typ", None) == kind:
            return challenge
    raise ChallengeFailed(f"the ACME server does not offer it for {_name_of(authorization)}")


def _refusal(
    authorization: messages.AuthorizationResource, decided: messages.Authorization, kind: str
) -> str:
    for challenge in decided.challenges:
        if challenge.error is not None:
            return explain(challenge.error, _name_of(authorization), kind)
    return f"the authorization is {decided.status.name}, without a reason"
