"""Endpoints of single settings: read as they are in force, changed in the file."""

from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

from pydantic import BaseModel
from starlette.responses import Response

from cliproxy.management.endpoint import Call, Endpoint
from cliproxy.management.file_changes import READ_ERRORS, WRITE_ERRORS, Done, changed, versioned


class Toggle(BaseModel):
    value: bool


class Number(BaseModel):
    value: int


class Text(BaseModel):
    value: str


class Setting(NamedTuple):
    path: str
    """Of the endpoint, and of the key in the file."""
    body: type[Toggle | Number | Text]
    resets: bool = False
    """It can be deleted, which empties it."""


_FLAGS = (
    "debug", "logging-to-file", "usage-statistics-enabled", "request-log", "ws-auth", "force-model-prefix",
    "quota-exceeded/switch-project", "quota-exceeded/switch-preview-model",
)  # fmt: skip
_NUMBERS = (
    "logs-max-total-size-mb", "error-logs-max-files", "request-retry", "max-retry-credentials", "max-retry-interval",
)  # fmt: skip
SETTINGS = (
    *(Setting(path, Toggle) for path in _FLAGS),
    *(Setting(path, Number) for path in _NUMBERS),
    Setting("proxy-url", Text, resets=True),
    Setting("routing/strategy", Text),
)
_TYPES = {Toggle: "boolean", Number: "integer", Text: "string"}


async def _read(setting: Setting, call: Call[None, None]) -> Response:
    value = attrgetter(_attribute(setting))(call.operator.running.config)
    return await versioned(call, {setting.path.rpartition("/")[2]: value})


async def _write(setting: Setting, call: Call[None, Toggle | Number | Text]) -> Response:
    return await _put(setting, call, call.body.value)


async def _reset(setting: Setting, call: Call[None, None]) -> Response:
    return await _put(setting, call, "")


async def _put(setting: Setting, call: Call[None, Any], value: bool | int | str) -> Response:
    path = tuple(setting.path.split("/"))
    return await changed(call, lambda document: document.put(path, value))


def _attribute(setting: Setting) -> str:
    return setting.path.replace("/", ".").replace("-", "_")


def _endpoints(setting: Setting) -> Sequence[Endpoint]:
    path, name = f"/{setting.path}", setting.path.rpartition("/")[2]
    answer = {"type": "object", "required": [name], "properties": {name: {"type": _TYPES[setting.body]}}}
    changes = [
        Endpoint(
            method,
            path,
            partial(_write, setting),
            f"Change {setting.path}",
            body=setting.body,
            answer=Done,
            errors=WRITE_ERRORS,
        )
        for method in ("PUT", "PATCH")
    ]
    if setting.resets:
        changes.append(
            Endpoint(
                "DELETE", path, partial(_reset, setting), f"Empty {setting.path}", answer=Done, errors=WRITE_ERRORS
            )
        )
    reading = Endpoint(
        "GET", path, partial(_read, setting), f"{setting.path} as it is in force", answer=answer, errors=READ_ERRORS
    )
    return reading, *changes


ENDPOINTS: Sequence[Endpoint] = tuple(endpoint for setting in SETTINGS for endpoint in _endpoints(setting))
