"""What a client needs to use a TURN server that shares a secret with us.

Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver
"""

from __future__ import annotations

import base64
import hashlib
import hmac


def temporary_credentials(user_id: str, secret: str, expires: int) -> tuple[str, str]:
    """A user name and password that the TURN server takes until `expires`, in seconds since 1970.

    The name is the time and the user, the password the name's HMAC-SHA1 with the secret, in base64: what coturn calls
    `use-auth-secret`, after https://datatracker.ietf.org/doc/html/draft-uberti-behave-turn-rest-00
    """
    username = f"{expires}:{user_id}"
    mac = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(mac).decode()
