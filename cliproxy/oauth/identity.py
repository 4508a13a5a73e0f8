"""Who a login belongs to, as its tokens say.

The signature is not checked: the tokens came over TLS straight from the token endpoint, which OpenID Connect Core
section 3.1.3.7 takes in place of the signature. So nothing here may be used on a token that somebody else presents.
"""

from base64 import urlsafe_b64decode
from typing import Any, cast

from cliproxy.wire.json import loads


def claims(token: str) -> dict[str, Any]:
    """The claims of a JWT (an id_token, or an access token that is one); empty where it holds none."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        value = loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
