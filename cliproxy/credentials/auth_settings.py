"""What a user may set in an auth file, beside the login that it holds."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from cliproxy.config import wording
from cliproxy.config.schema import ErrorRule, Headers, OAuthAlias, Section
from cliproxy.config.schema.values import Duration, HttpUrl, Name, Prefix, ProxyUrl


def _whole(value: object) -> object:
    """CLIProxyAPI's tools write numbers as text too, and its Go code reads every number as a float."""
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _flag(value: object) -> object:
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.strip().lower(), value)
    return bool(value) if isinstance(value, int | float) else value


def _interval(value: object) -> object:
    """A duration, or a number of seconds as text; what is negative says nothing."""
    try:
        seconds = float(value) if isinstance(value, str | int | float) else None
    except ValueError:
        return value
    return value if seconds is None else max(seconds, 0.0)


def _known_keys(section: type[Section]) -> BeforeValidator:
    """Leaves out keys of a list's items that mean nothing here, as CLIProxyAPI does."""
    keys = {key for name, field in section.model_fields.items() for key in (name, field.alias)}

    def known(items: object) -> object:
        if not isinstance(items, list):
            return items
        return [{k: v for k, v in item.items() if k in keys} if isinstance(item, dict) else item for item in items]

    return BeforeValidator(known)


def _without_blanks(items: object) -> object:
    if not isinstance(items, list):
        return items
    return [item for item in items if not (isinstance(item, str) and not item.strip())]


Whole = Annotated[int, Field(strict=True), BeforeValidator(_whole)]
Flag = Annotated[bool, Field(strict=True), BeforeValidator(_flag)]


class AuthSettings(Section):
    """The optional fields of every auth file (CLIProxyAPI's). Other fields are not looked at."""

    model_config = ConfigDict(extra="ignore", loc_by_alias=False)

    email: str = ""
    """Whose login it is, where the vendor says so."""
    disabled: Flag = False
    """Do not use this account."""
    prefix: Prefix = ""
    """Lets clients write `prefix/model` to mean this account."""
    proxy_url: ProxyUrl = Field(default="", repr=False)
    """Proxy for this account; `direct` = none. Empty = the config's."""
    priority: Whole = 0
    """Accounts with a higher number are used first."""
    weight: Annotated[Whole, Field(le=1_000_000)] = 1
    """Share of requests under `weighted-round-robin`. 0 or less = none."""
    note: str = ""
    """For people."""
    headers: Headers = Field(default_factory=dict, repr=False)
    """Headers for the upstream. `$Name` copies the client's header `Name`, null removes the header."""
    excluded_models: Annotated[tuple[Name, ...], BeforeValidator(_without_blanks)] = ()
    """Models that this account does not offer; `*` stands for any text."""
    model_aliases: Annotated[tuple[OAuthAlias, ...], _known_keys(OAuthAlias)] = ()
    """Other names for the models of this account."""
    request_retry: Whole | None = None
    """Further rounds of tries. None = as the config says."""
    disable_cooling: Flag | None = None
    """Never sideline this account. None = as the config says."""
    request_scoped_errors: Annotated[tuple[ErrorRule, ...], _known_keys(ErrorRule)] = ()
    """How to take certain errors of the upstream."""
    websockets: Flag = False
    """The upstream also takes requests over a WebSocket."""
    base_url: HttpUrl = ""
    """Address of the API. Empty = the provider's."""
    refresh_interval_seconds: Annotated[Duration, BeforeValidator(_interval)] = 0.0
    """Renew the login so long after the last time. 0 = by its end."""

    @field_validator("request_retry")
    @classmethod
    def _negative_inherits(cls, rounds: int | None) -> int | None:
        return None if rounds is not None and rounds < 0 else rounds

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "AuthSettings":
        """The settings among the fields of a file, names in snake case; null and empty text set nothing.

        Raises ValueError with a sentence for each field that is wrong; it repeats no value.
        """
        try:
            return cls.model_validate({name: value for name, value in fields.items() if value not in (None, "")})
        except ValidationError as error:
            faults = (
                f"{_path(fault['loc'])}: {wording.sentence(fault, None, hidden=True)}"
                for fault in error.errors(include_url=False, include_input=False)
            )
            raise ValueError("; ".join(faults)) from None


def _path(location: tuple[int | str, ...]) -> str:
    """`request_scoped_errors[0].status`; pydantic's mark for the key of a mapping is left out."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{wording.step(step)}" for step in location if step != "[key]")
    return "".join(steps).removeprefix(".")
