"""Private keys: of certificates, and of the account."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import Error as JoseError
from josepy.jwk import JWK, JWKEC, JWKRSA

from homeserver.tls import write_whole

from .errors import ACMEError


def new_private_key() -> bytes:
    """A key for a certificate or an account, in PEM form."""
    return private_pem(ec.generate_private_key(ec.SECP256R1()))


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key in PEM form, without a password."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def account_key(path: Path) -> JWK:
    """The account's key; made when there is no such file. Raises ACMEError."""
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(path, new_private_key(), 0o600)
        key = JWK.load(path.read_bytes())
    except OSError as error:
        raise ACMEError(
            f"acme.account_key_file: {path} cannot be read or made ({error.strerror}). What to do: give it to the user that "
            "runs the server"
        ) from None
    except (JoseError, ValueError) as error:
        raise ACMEError(f"acme.account_key_file: {path} is no key in PEM form ({error})") from None
    if isinstance(key, JWKRSA) or (isinstance(key, JWKEC) and isinstance(key.key.curve, ec.SECP256R1)):
        return key
    raise ACMEError(f"acme.account_key_file: {path} is neither an RSA key nor one of the curve P-256")
