"""What can go wrong while logging in or refreshing. Messages may be shown to the user and never hold a token."""


class OAuthFault(Exception):
    """An OAuth step failed; the message says what, and how to mend it."""


class GrantRefused(OAuthFault):
    """The authorization server refused the grant for good (`invalid_grant`, `refresh_token_reused` …): trying the
    same again is of no use, the user must log in again."""

    def __init__(self, message: str, *, code: str = "invalid_grant") -> None:
        super().__init__(message)
        self.code = code


class EndpointTrouble(OAuthFault):
    """An endpoint was unreachable, slow, busy or garbled: another try later may do.

    retry_after_s: seconds that the server asked for, None where it said nothing.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LoginFailed(OAuthFault):
    """A login ended without tokens: denied, expired, cancelled, or answered with something that does not belong."""
