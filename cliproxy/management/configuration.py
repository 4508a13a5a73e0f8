"""Endpoints of the configuration as a whole."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from pydantic import BaseModel, SecretStr
from starlette.responses import Response

from cliproxy.agent import USER_AGENT
from cliproxy.config.schema import Section, kebab
from cliproxy.management.endpoint import Call, Endpoint, json_response
from cliproxy.management.faults import ManagementFault
from cliproxy.management.file_changes import WRITE_ERRORS

YAML = "application/yaml"
_HIDDEN = ("host", "port", "auth_dir", "remote_management")
"""As in CLIProxyAPI: no business of a panel's."""


class Written(TypedDict):
    ok: bool
    changed: list[str]
    warnings: list[str]


class Checking(BaseModel):
    check: bool = False
    """Only say whether it would do."""


def running_version() -> str:
    """Of this program; `0` where it runs from its source."""
    return USER_AGENT.partition("/")[2] or "0"


async def _effective(call: Call[None, None]) -> dict[str, Any]:
    config = call.operator.running.config
    return {kebab(name): _plain(getattr(config, name)) for name in type(config).model_fields if name not in _HIDDEN}


def _plain(value: Any) -> Any:
    """A value of the configuration as JSON has it, in the file's spelling and with its secrets."""
    match value:
        case SecretStr():
            return value.get_secret_value()
        case Section():
            fields = type(value).model_fields
            return {info.alias or kebab(name): _plain(getattr(value, name)) for name, info in fields.items()}
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            # Regular expressions and moments, as text.
            return getattr(value, "pattern", None) or str(value)


async def _text(call: Call[None, None]) -> Response:
    found = await call.operator.config_file.read()
    return Response(found.text, headers={"ETag": f'"{found.version}"'}, media_type=YAML)


async def _replace(call: Call[Checking, None]) -> Response:
    try:
        text = (await call.read()).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ManagementFault(400, "invalid_yaml", "the body is not UTF-8 text") from None
    file = call.operator.config_file
    if call.query.check:
        loaded = await file.check(text)
        return json_response({"ok": True, "changed": [], "warnings": loaded.warnings})
    loaded, now = await file.replace(text, call.expected_version)
    answer = {"ok": True, "changed": ["config"], "warnings": loaded.warnings}
    return json_response(answer, headers={"ETag": f'"{now}"'})


async def _latest_version(call: Call[None, None]) -> dict[str, str]:
    # Nothing is asked for on the network: the gateway calls upstreams, and nobody else.
    return {"latest-version": running_version()}


LatestVersion = TypedDict("LatestVersion", {"latest-version": str})

ENDPOINTS: Sequence[Endpoint] = (
    Endpoint("GET", "/config", _effective, "The configuration in force"),
    Endpoint("GET", "/config.yaml", _text, "The file", media_type=YAML, errors=(404,)),
    Endpoint(
        "PUT",
        "/config.yaml",
        _replace,
        "Replace the file, once it is found to be valid",
        query=Checking,
        takes=YAML,
        answer=Written,
        errors=WRITE_ERRORS,
    ),
    Endpoint("GET", "/latest-version", _latest_version, "The running version", answer=LatestVersion),
)
