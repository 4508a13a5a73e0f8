"""Endpoints of the sections of the file that hold keys for upstreams, one entry each.

Entries are shown as they stand in the file, in the canonical spelling; their indexes are those in the file.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from cliproxy.config.schema import (
    ClaudeKey,
    CodexKey,
    Config,
    GeminiKey,
    OpenAICompatibility,
    Upstream,
    VertexKey,
    XaiKey,
    kebab,
)
from cliproxy.credentials.from_config import credentials_of
from cliproxy.management.endpoint import Call, Endpoint
from cliproxy.management.faults import ManagementFault
from cliproxy.management.file_changes import READ_ERRORS, WRITE_ERRORS, Done, changed, versioned
from cliproxy.management.inventory import EVERY_MODEL, index_of
from cliproxy.management.yaml_document import YamlDocument

Object = dict[str, Any]


class Section(NamedTuple):
    """A key of the file that holds a list of entries."""

    name: str
    model: type[Upstream]

    @property
    def field(self) -> str:
        """Of `Config`."""
        return self.name.replace("-", "_")


SECTIONS = (
    Section("gemini-api-key", GeminiKey),
    Section("claude-api-key", ClaudeKey),
    Section("codex-api-key", CodexKey),
    Section("xai-api-key", XaiKey),
    Section("vertex-api-key", VertexKey),
    Section("openai-compatibility", OpenAICompatibility),
)
COMPATIBLE = "openai-compatibility"
_KEYS = "api-key-entries"
_OURS = ("auth-index",)
"""What answers carry beside the file's keys; it comes back with panels' changes, and is left out of the file."""


class Items(BaseModel):
    items: list[Object]


class Change(BaseModel):
    """`value` has the keys to change; null takes one away."""

    model_config = ConfigDict(extra="forbid")

    index: int | None = None
    match: str | None = None
    """The entry's API key; for `openai-compatibility` its name."""
    name: str | None = None
    value: Object


class Which(BaseModel):
    index: int | None = None
    api_key: str | None = Field(None, alias="api-key")
    base_url: str | None = Field(None, alias="base-url")
    name: str | None = None


class ByBaseUrl(BaseModel):
    base_url: str | None = Field(None, alias="base-url")


# ---------------------------------------------------------------- entries of the file


def entries_of(document: YamlDocument, section: Section) -> list[Object]:
    """As they stand in the file, their keys in the canonical spelling."""
    found = document.get((section.name,))
    return [_canonical(entry) for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _canonical(entry: Object) -> Object:
    canonical = {kebab(name): value for name, value in entry.items()}
    keys = canonical.get(_KEYS)
    if isinstance(keys, list):
        canonical[_KEYS] = [
            {kebab(name): value for name, value in key.items()} if isinstance(key, dict) else {"api-key": key}
            for key in keys
        ]
    return canonical


def _indexes(config: Config, section: Section, entry: Object) -> list[str]:
    """The `auth_index` of each credential that an entry gives; none where it is left out or wrong."""
    try:
        upstream = section.model.model_validate({**entry, "disabled": False})
    except ValidationError:
        return []
    if section.model.why_skipped({name.replace("-", "_"): value for name, value in entry.items()}):
        return []
    alone = {other.field: () for other in SECTIONS} | {section.field: (upstream,), "demo": False}
    return [index_of(credential) for credential in credentials_of(config.model_copy(update=alone))]


def located(document: YamlDocument, config: Config, auth_index: str) -> tuple[Section, int] | None:
    """Where in the file the entry of a credential is."""
    for section in SECTIONS:
        for index, entry in enumerate(entries_of(document, section)):
            if auth_index in _indexes(config, section, entry):
                return section, index
    return None


def set_disabled(document: YamlDocument, section: Section, index: int, *, disabled: bool) -> None:
    """Switch an entry off or on, as CLIProxyAPI does: by excluding every model."""
    entries = entries_of(document, section)
    entry = entries[index]
    excluded = [pattern for pattern in entry.get("excluded-models") or () if pattern != EVERY_MODEL]
    if disabled:
        excluded.append(EVERY_MODEL)
    entry["excluded-models"] = excluded
    if not excluded:
        del entry["excluded-models"]
    if not disabled:
        entry.pop("disabled", None)
    document.put((section.name,), entries)


# ---------------------------------------------------------------- endpoints


async def _list(section: Section, call: Call[None, None]) -> Response:
    config = call.operator.running.config
    entries = entries_of(await call.operator.config_file.document(), section)
    for entry in entries:
        indexes = _indexes(config, section, entry)
        if section.name == COMPATIBLE:
            for key, auth_index in zip(entry.get(_KEYS) or (), indexes, strict=False):
                key["auth-index"] = auth_index
        entry["auth-index"] = indexes[0] if indexes else ""
    return await versioned(call, {section.name: entries})


async def _replace(section: Section, call: Call[None, list[Object] | Items]) -> Response:
    entries = [_stripped(entry) for entry in (call.body if isinstance(call.body, list) else call.body.items)]
    return await changed(call, lambda document: document.put((section.name,), entries))


async def _change(section: Section, call: Call[ByBaseUrl, Change]) -> Response:
    change = call.body
    value = _stripped(change.value)

    def edit(document: YamlDocument) -> None:
        entries = entries_of(document, section)
        wanted = change.name if section.name == COMPATIBLE and change.name is not None else change.match
        place = _place(section, entries, change.index, wanted, call.query.base_url)
        changed = entries[place] | value
        entries[place] = {name: item for name, item in changed.items() if item is not None}
        document.put((section.name,), entries)

    return await changed(call, edit)


async def _delete(section: Section, call: Call[Which, None]) -> Response:
    which = call.query
    wanted = which.name if section.name == COMPATIBLE else which.api_key
    if wanted is None and which.index is None:
        raise ManagementFault(
            400, "missing name or index" if section.name == COMPATIBLE else "missing api-key or index"
        )

    def edit(document: YamlDocument) -> None:
        entries = entries_of(document, section)
        del entries[_place(section, entries, None if wanted is not None else which.index, wanted, which.base_url)]
        document.put((section.name,), entries)

    return await changed(call, edit)


def _place(
    section: Section, entries: Sequence[Object], index: int | None, wanted: str | None, base_url: str | None
) -> int:
    """The entry that is meant. Raises ManagementFault: 404 for none, 400 for several."""
    if index is not None and 0 <= index < len(entries):
        return index
    places = list(_matching(section, entries, (wanted or "").strip(), base_url)) if wanted else []
    if not places:
        raise ManagementFault(404, "item not found")
    if len(places) > 1:
        raise ManagementFault(400, "multiple items match; index is required")
    return places[0]


def _matching(section: Section, entries: Sequence[Object], wanted: str, base_url: str | None) -> Iterator[int]:
    name = "name" if section.name == COMPATIBLE else "api-key"
    for index, entry in enumerate(entries):
        at_url = str(entry.get("base-url") or "").rstrip("/")
        if str(entry.get(name) or "").strip() == wanted and base_url in (None, at_url, f"{at_url}/"):
            yield index


def _stripped(entry: Object) -> Object:
    """Without what is ours and not the file's."""
    canonical = {name: value for name, value in _canonical(entry).items() if name not in _OURS}
    if isinstance(canonical.get(_KEYS), list):
        canonical[_KEYS] = [
            {name: value for name, value in key.items() if name not in _OURS} for key in canonical[_KEYS]
        ]
    return canonical


async def _none(call: Call[None, None]) -> dict[str, list[Object]]:
    # Gemini's Interactions API is not spoken here; panels ask for its keys all the same.
    return {"interactions-api-key": []}


def _list_schema(name: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [name],
        "properties": {name: {"type": "array", "items": {"type": "object"}}},
    }


def _endpoints(section: Section) -> Sequence[Endpoint]:
    path, name = f"/{section.name}", section.name
    changes: Any = {"answer": Done, "errors": WRITE_ERRORS}
    return (
        Endpoint(
            "GET", path, partial(_list, section), f"Entries of {name}", answer=_list_schema(name), errors=READ_ERRORS
        ),
        Endpoint("PUT", path, partial(_replace, section), f"Replace {name}", body=list[Object] | Items, **changes),
        Endpoint("PATCH", path, partial(_change, section), "Change an entry", query=ByBaseUrl, body=Change, **changes),
        Endpoint("DELETE", path, partial(_delete, section), "Remove an entry", query=Which, **changes),
    )


ENDPOINTS: Sequence[Endpoint] = (
    *(endpoint for section in SECTIONS for endpoint in _endpoints(section)),
    Endpoint(
        "GET",
        "/interactions-api-key",
        _none,
        "Always empty",
        answer=_list_schema("interactions-api-key"),
    ),
)
