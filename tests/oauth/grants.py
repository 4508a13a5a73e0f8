"""The rules of the test authorization server: Authlib's server side over records in memory.

Owns who gets which tokens, and what becomes of them. Sockets, faults and vendors' own forms are
`tests.oauth.authorization_server`'s.
"""

import base64
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from authlib.common.security import generate_token
from authlib.oauth2 import AuthorizationServer, OAuth2Error
from authlib.oauth2.rfc6749 import InvalidGrantError, grants
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7523 import JWTBearerGrant
from authlib.oauth2.rfc7636 import CodeChallenge, create_s256_code_challenge
from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint, DeviceCodeGrant
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from tests.oauth.records import USER, Client, Code, DeviceCode, Ledger, Reply, Request, Settings, Token

SERVICE_ACCOUNT = "robot@test-project.example.com"
_CLIENT_AUTH = ["none", "client_secret_post", "client_secret_basic"]


@cache
def _service_account_key() -> RSAKey:
    # Making one takes longer than the test that wants it.
    return RSAKey.generate_key(2048)


class Reused(OAuth2Error):
    """A refresh token came twice: someone else has it, or the client lost count."""

    error = "refresh_token_reused"


class Issuer(AuthorizationServer):
    """Gives tokens to one client and one user."""

    def __init__(self, client: Client, clock: Callable[[], float]) -> None:
        super().__init__()
        self.client = client
        self.settings = Settings()
        self.ledger = Ledger()
        self.url = ""
        self.clock = clock
        self.codes: dict[str, Code] = {}
        self.tokens: list[Token] = []
        self.device_codes: dict[str, DeviceCode] = {}
        """By device code."""
        self._count = 0
        generator = BearerTokenGenerator(self._named("access"), self._named("refresh"), self._life_s)
        self.register_token_generator("default", generator)
        self.register_grant(_AuthorizationCode, [_Pkce(required=False)])
        for grant in (_RefreshToken, _DeviceCode, _ServiceAccount):
            self.register_grant(grant)
        self.register_endpoint(_DeviceEndpoint)
        self.register_endpoint(_Revocation)

    # ------------------------------------------------------------ what tests ask and say

    def accepts(self, access_token: str) -> bool:
        """Whether an access token is good now."""
        token = self.find(access_token)
        return bool(token and not token.is_dead and token.expires_at_s > self.clock())

    def issue(self, scope: str = "openid") -> dict[str, Any]:
        """A token answer without a login."""
        token = self.generate_token("authorization_code", self.client, scope=scope)
        self._keep(token, generate_token(8))
        return token

    def revoke(self, token: str) -> None:
        """Revoke all tokens of the login that an access or refresh token is of."""
        if found := self.find(token):
            self._revoke_family(found.family)

    def decide(self, user_code: str, *, agrees: bool = True) -> bool:
        """Have the user confirm or deny a device code; whether there is such a code."""
        found = [code for code in self.device_codes.values() if code.user_code == user_code]
        for code in found:
            code.decision = agrees
        return bool(found)

    @property
    def service_account(self) -> dict[str, str]:
        """The key file of a service account of this server's."""
        pem = self.service_account_key.as_pem(private=True).decode()
        return {
            "type": "service_account",
            "project_id": "test-project",
            "private_key_id": "test-key-1",
            "private_key": pem,
            "client_email": SERVICE_ACCOUNT,
            "token_uri": f"{self.url}/oauth/token",
        }

    @property
    def service_account_key(self) -> RSAKey:
        return _service_account_key()

    @property
    def now_s(self) -> float:
        """By the server's own clock."""
        return self.clock() + self.settings.skew_s

    # ------------------------------------------------------------ what Authlib asks

    def query_client(self, client_id: str) -> Any:
        return self.client if client_id == self.client.client_id else None

    def save_token(self, token: dict[str, Any], request: Any) -> None:
        self._keep(token, request.refresh_token.family if request.refresh_token else generate_token(8))
        self.ledger.grants[request.payload.grant_type] += 1

    def create_oauth2_request(self, request: Any) -> Any:
        return request

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        pass

    def handle_response(self, status: int, body: Any, headers: Any) -> Reply:
        if isinstance(body, dict) and "error" in body:
            self.ledger.refusals[body["error"]] += 1
            if self.settings.errors == "nested":
                words = f"Your request was refused: {body.get('error_description', 'no reason')}"
                error = {"message": words, "type": "invalid_request_error", "param": None, "code": body["error"]}
                return 401, {"error": error}, headers
        return status, body, headers

    # ------------------------------------------------------------ records

    def _keep(self, token: dict[str, Any], family: str) -> None:
        life_s = self.settings.expires_in_s or 10**9
        self.tokens.append(
            Token(
                token["access_token"],
                token.get("refresh_token", ""),
                token.get("scope", ""),
                family,
                self.clock() + life_s,
            )
        )
        if "openid" in token.get("scope", "").split():
            token["id_token"] = id_token(
                {"iat": int(self.now_s), "exp": int(self.now_s + life_s), **self.settings.claims}
            )
        token.update(self.settings.extra)

    def find(self, token: str) -> Token | None:
        """The record of an access or refresh token."""
        return next((kept for kept in self.tokens if token and token in (kept.access_token, kept.refresh_token)), None)

    def trade(self, refresh_token: str) -> Token | None:
        """The record of a refresh token that may be traded."""
        token = self.find(refresh_token)
        if token and token.is_traded and not self.settings.takes_again:
            self.ledger.reuses += 1
            self._revoke_family(token.family)
            raise Reused("this refresh token was used before")
        return token if token and not token.is_dead else None

    def _revoke_family(self, family: str) -> None:
        for token in self.tokens:
            if token.family == family:
                token.is_dead = True

    def _named(self, kind: str) -> Callable[..., str]:
        def generate(**_: Any) -> str:
            self._count += 1
            return f"test-{kind}-{self._count}-{generate_token(8)}"

        return generate

    def _life_s(self, client: Any, grant_type: str) -> int:
        return self.settings.expires_in_s


def id_token(claims: Mapping[str, Any]) -> str:
    """A JWT with a signature that means nothing."""
    parts = ({"alg": "RS256", "typ": "JWT"}, dict(claims))
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join((*encoded, "test-signature"))


# ---------------------------------------------------------------- grants


class _Pkce(CodeChallenge):
    """As strict as the settings say."""

    def validate_code_verifier(self, grant: Any, result: Any) -> None:
        self.required = grant.server.settings.requires_pkce
        super().validate_code_verifier(grant, result)


class _AuthorizationCode(grants.AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = _CLIENT_AUTH
    server: Issuer

    def save_authorization_code(self, code: str, request: Any) -> None:
        parameters = request.parameters
        self.server.codes[code] = Code(
            code,
            parameters["redirect_uri"],
            parameters.get("scope", ""),
            parameters.get("code_challenge"),
            parameters.get("code_challenge_method"),
        )

    def query_authorization_code(self, code: str, client: Any) -> Any:
        return self.server.codes.get(code)

    def delete_authorization_code(self, authorization_code: Any) -> None:
        del self.server.codes[authorization_code.code]

    def authenticate_user(self, authorization_code: Any) -> str:
        return USER


class _RefreshToken(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = _CLIENT_AUTH
    server: Issuer

    def __init__(self, request: Any, server: Issuer) -> None:
        super().__init__(request, server)
        self.INCLUDE_NEW_REFRESH_TOKEN = server.settings.rotates

    def authenticate_refresh_token(self, refresh_token: str) -> Any:
        return self.server.trade(refresh_token)

    def authenticate_user(self, refresh_token: Any) -> str:
        return USER

    def revoke_old_credential(self, refresh_token: Any) -> None:
        refresh_token.is_traded = self.server.settings.rotates


class _DeviceEndpoint(DeviceAuthorizationEndpoint):
    CLIENT_AUTH_METHODS = _CLIENT_AUTH
    server: Issuer

    def create_endpoint_response(self, request: Request) -> Reply:
        settings = self.server.settings
        self.EXPIRES_IN, self.INTERVAL = settings.device_code_life_s, settings.interval_s
        status, body, headers = super().create_endpoint_response(request)
        self.server.device_codes[body["device_code"]].code_challenge = request.parameters.get("code_challenge", "")
        return status, body, headers

    def get_verification_uri(self) -> str:
        return f"{self.server.url}/device"

    def save_device_credential(self, client_id: str, scope: str | None, data: dict[str, Any]) -> None:
        device_code = data["device_code"]
        expires_at_s = self.server.clock() + data["expires_in"]
        self.server.device_codes[device_code] = DeviceCode(
            device_code, data["user_code"], client_id, scope or "", expires_at_s
        )


class _Credential:
    """A device code as Authlib wants to see it."""

    def __init__(self, code: DeviceCode, now_s: float) -> None:
        self.code = code
        self._now_s = now_s

    def get_client_id(self) -> str:
        return self.code.client_id

    def get_scope(self) -> str:
        return self.code.scope

    def get_user_code(self) -> str:
        return self.code.user_code

    def is_expired(self) -> bool:
        return self.code.expires_at_s <= self._now_s


class _DeviceCode(DeviceCodeGrant):
    server: Issuer
    request: Any

    def query_device_credential(self, device_code: str) -> _Credential | None:
        code = self.server.device_codes.get(device_code)
        return _Credential(code, self.server.clock()) if code else None

    def query_user_grant(self, user_code: str) -> tuple[str, bool] | None:
        code = next(code for code in self.server.device_codes.values() if code.user_code == user_code)
        if code.decision is None:
            return None
        verifier = self.request.parameters.get("code_verifier", "")
        if code.code_challenge and create_s256_code_challenge(verifier) != code.code_challenge:
            raise InvalidGrantError("Code challenge failed.")
        if code.decision:
            del self.server.device_codes[code.device_code]
        return USER, code.decision

    def should_slow_down(self, credential: _Credential) -> bool:
        now_s, code = self.server.clock(), credential.code
        is_early = now_s - code.asked_at_s < self.server.settings.enforced_interval_s
        code.asked_at_s = now_s
        return is_early


class _Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = _CLIENT_AUTH
    server: Issuer

    def query_token(self, token_string: str, token_type_hint: str | None) -> Token | None:
        return self.server.find(token_string)

    def revoke_token(self, token: Token, request: Request) -> None:
        self.server.revoke(token.access_token)


class _ServiceAccount(JWTBearerGrant):
    server: Issuer

    def resolve_issuer_client(self, issuer: str) -> Client | None:
        return self.server.client if issuer == SERVICE_ACCOUNT else None

    def resolve_client_public_key(self, client: Client) -> RSAKey:
        return self.server.service_account_key

    def get_audiences(self) -> list[str]:
        return [f"{self.server.url}/oauth/token"]

    def verify_claims(self, claims: jwt.Claims) -> None:
        """Authlib's check by the server's clock; Google also refuses what is good for more than an hour."""
        registry = jwt.JWTClaimsRegistry(
            now=int(self.server.now_s),
            leeway=self.LEEWAY,
            aud={"essential": True, "values": self.get_audiences()},
            iat={"essential": True},
            exp={"essential": True},
        )
        try:
            registry.validate(claims)
        except JoseError as error:
            raise InvalidGrantError(f"Invalid JWT: {error.error}") from None
        if claims["exp"] - claims["iat"] > 3600 or not claims.get("scope"):
            raise InvalidGrantError("Invalid JWT: it must be short-lived, and name a scope")
