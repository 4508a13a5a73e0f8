"""Endpoints of the settings that the file keeps by provider: what is true of all accounts of one."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from cliproxy.management.endpoint import Call, Endpoint
from cliproxy.management.faults import ManagementFault
from cliproxy.management.file_changes import READ_ERRORS, WRITE_ERRORS, Done, changed, versioned
from cliproxy.management.yaml_document import YamlDocument

Object = dict[str, Any]


class ProviderMap(NamedTuple):
    name: str
    """Key of the file."""
    values: str
    """What a change calls the list of one provider."""


MAPS = (
    ProviderMap("oauth-excluded-models", "models"),
    ProviderMap("oauth-model-alias", "aliases"),
    ProviderMap("oauth-request-scoped-errors", "rules"),
)


class Change(BaseModel):
    """The list of one provider; an empty one removes it."""

    model_config = ConfigDict(extra="forbid")

    provider: str | None = None
    channel: str | None = None
    """Another word for `provider`."""
    models: list[str] | None = None
    aliases: list[Object] | None = None
    rules: list[Object] | None = None


class Which(BaseModel):
    provider: str = ""
    channel: str = ""


def _in_file(document: YamlDocument, map_: ProviderMap) -> Object:
    found = document.get((map_.name,))
    return found if isinstance(found, dict) else {}


async def _list(map_: ProviderMap, call: Call[None, None]) -> Response:
    return await versioned(call, {map_.name: _in_file(await call.operator.config_file.document(), map_)})


async def _replace(map_: ProviderMap, call: Call[None, dict[str, Any]]) -> Response:
    # Also wrapped, as lists are.
    items = call.body.get("items")
    value = items if len(call.body) == 1 and isinstance(items, dict) else call.body

    def edit(document: YamlDocument) -> None:
        document.put((map_.name,), {provider.strip().lower(): entries for provider, entries in value.items()})

    return await changed(call, edit)


async def _change(map_: ProviderMap, call: Call[None, Change]) -> Response:
    provider = _provider(call.body.provider, call.body.channel)
    values = getattr(call.body, map_.values)
    if values is None:
        raise ManagementFault(400, "invalid body", f"{map_.values}: Field required")

    def edit(document: YamlDocument) -> None:
        if values:
            document.put((map_.name, provider), values)
        elif provider in _in_file(document, map_):
            document.remove((map_.name, provider))
        else:
            raise ManagementFault(404, "provider not found")

    return await changed(call, edit)


async def _delete(map_: ProviderMap, call: Call[Which, None]) -> Response:
    provider = _provider(call.query.provider, call.query.channel)

    def edit(document: YamlDocument) -> None:
        if provider not in _in_file(document, map_):
            raise ManagementFault(404, "provider not found")
        document.remove((map_.name, provider))

    return await changed(call, edit)


def _provider(*named: str | None) -> str:
    provider = next((name.strip().lower() for name in named if name and name.strip()), "")
    if not provider:
        raise ManagementFault(400, "missing provider")
    return provider


def _endpoints(map_: ProviderMap) -> Sequence[Endpoint]:
    path, name = f"/{map_.name}", map_.name
    schema = {"type": "object", "required": [name], "properties": {name: {"type": "object"}}}
    changes: Any = {"answer": Done, "errors": WRITE_ERRORS}
    return (
        Endpoint("GET", path, partial(_list, map_), f"{name}, by provider", answer=schema, errors=READ_ERRORS),
        Endpoint("PUT", path, partial(_replace, map_), f"Replace {name}", body=dict[str, Any], **changes),
        Endpoint("PATCH", path, partial(_change, map_), "Change one provider's", body=Change, **changes),
        Endpoint("DELETE", path, partial(_delete, map_), "Remove one provider's", query=Which, **changes),
    )


ENDPOINTS: Sequence[Endpoint] = tuple(endpoint for map_ in MAPS for endpoint in _endpoints(map_))
