"""Endpoints of the keys that clients show. In the file an entry is plain text, or an object with what it may do."""

from collections.abc import Sequence
from typing import Any, TypedDict

from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from cliproxy.config.schema import ClientKey, kebab
from cliproxy.management.endpoint import Call, Endpoint
from cliproxy.management.faults import ManagementFault
from cliproxy.management.file_changes import READ_ERRORS, WRITE_ERRORS, Done, changed, versioned
from cliproxy.management.yaml_document import YamlDocument
from cliproxy.secrets import mask

KEYS = ("api-keys",)

Object = dict[str, Any]
Entry = str | Object


class Items(BaseModel):
    items: list[Entry]


class Change(BaseModel):
    """`old` and `new`, or `index` and `value`."""

    model_config = ConfigDict(extra="forbid")

    old: str | None = None
    new: Entry | None = None
    """Takes the place of `old`; added where that is not there."""
    index: int | None = None
    value: Entry | None = None


class Which(BaseModel):
    index: int | None = None
    value: str = ""


class ClientKeyView(TypedDict):
    index: int | None
    name: str
    mask: str
    models: list[str]
    providers: list[str]
    rpm: int
    tpm: int
    budget_usd: float
    spent_usd: float | None
    expires: str | None


ApiKeys = TypedDict("ApiKeys", {"api-keys": list[str]})
ClientKeys = TypedDict("ClientKeys", {"client-keys": list[ClientKeyView]})


def _entries(document: YamlDocument) -> list[Entry]:
    """As they stand in the file."""
    found = document.get(KEYS)
    return found if isinstance(found, list) else []


def _key_of(entry: Entry) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    return next((str(value) for name, value in entry.items() if kebab(str(name)) == "key"), "")


async def _in_file(call: Call[Any, Any]) -> list[Entry]:
    return _entries(await call.operator.config_file.document())


async def _list(call: Call[None, None]) -> Response:
    return await versioned(call, {"api-keys": [_key_of(entry) for entry in await _in_file(call)]})


async def _replace(call: Call[None, list[Entry] | Items]) -> Response:
    entries = call.body if isinstance(call.body, list) else call.body.items

    def edit(document: YamlDocument) -> None:
        # Panels know keys as text only: that must not take from a key what it may do.
        known = {_key_of(entry): entry for entry in _entries(document)}
        document.put(KEYS, [known.get(entry, entry) if isinstance(entry, str) else entry for entry in entries])

    return await changed(call, edit)


async def _change(call: Call[None, Change]) -> Response:
    change = call.body

    def edit(document: YamlDocument) -> None:
        entries = _entries(document)
        if change.index is not None and change.value is not None:
            if not 0 <= change.index < len(entries):
                raise ManagementFault(404, "item not found")
            entries[change.index] = _renamed(entries[change.index], change.value)
        elif change.old is not None and change.new is not None:
            place = next((index for index, entry in enumerate(entries) if _key_of(entry) == change.old), None)
            if place is None:
                entries.append(change.new)
            else:
                entries[place] = _renamed(entries[place], change.new)
        else:
            raise ManagementFault(400, "missing fields")
        document.put(KEYS, entries)

    return await changed(call, edit)


def _renamed(entry: Entry, new: Entry) -> Entry:
    """Plain text in the place of an object is another key that may do the same; an object without a key is what the
    same key may do now, for those who know its mask only."""
    if isinstance(new, str):
        if isinstance(entry, dict):
            return {name: new if kebab(str(name)) == "key" else value for name, value in entry.items()}
        return new
    return new if _key_of(new) else {**new, "key": _key_of(entry)}


async def _delete(call: Call[Which, None]) -> Response:
    which = call.query

    def edit(document: YamlDocument) -> None:
        entries = _entries(document)
        if which.index is not None:
            if not 0 <= which.index < len(entries):
                raise ManagementFault(404, "item not found")
            del entries[which.index]
        elif which.value:
            entries = [entry for entry in entries if _key_of(entry) != which.value]
        else:
            raise ManagementFault(400, "missing index or value")
        document.put(KEYS, entries)

    return await changed(call, edit)


async def _views(call: Call[None, None]) -> dict[str, Any]:
    places = {_key_of(entry): index for index, entry in enumerate(await _in_file(call))}
    keys = call.operator.running.config.api_keys
    await call.operator.memory.limits.refresh(key for key in keys if key.budget_usd)
    return {"client-keys": [_view(call, key, places) for key in keys]}


def _view(call: Call[Any, Any], key: ClientKey, places: dict[str, int]) -> dict[str, Any]:
    secret = key.key.get_secret_value()
    return {
        "index": places.get(secret),
        "name": key.name,
        "mask": mask(secret),
        "models": list(key.models),
        "providers": list(key.providers),
        "rpm": key.rpm,
        "tpm": key.tpm,
        "budget_usd": key.budget_usd,
        "spent_usd": call.operator.memory.limits.spent_usd(key) if key.budget_usd else None,
        "expires": key.expires.isoformat() if key.expires else None,
    }


ENDPOINTS: Sequence[Endpoint] = (
    Endpoint("GET", "/api-keys", _list, "The keys of clients", answer=ApiKeys, errors=READ_ERRORS),
    Endpoint("PUT", "/api-keys", _replace, "Replace them", body=list[Entry] | Items, answer=Done, errors=WRITE_ERRORS),
    Endpoint("PATCH", "/api-keys", _change, "Change or add one", body=Change, answer=Done, errors=WRITE_ERRORS),
    Endpoint("DELETE", "/api-keys", _delete, "Remove one", query=Which, answer=Done, errors=WRITE_ERRORS),
    Endpoint("GET", "/client-keys", _views, "What each key may do", answer=ClientKeys, errors=READ_ERRORS),
)
