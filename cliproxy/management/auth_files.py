"""Endpoints of the auth files: listed, uploaded, downloaded, changed and removed."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypedDict
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from cliproxy.credentials.auth_dir import AuthDir, AuthFileMissing, checked_name
from cliproxy.credentials.auth_file import AuthFile, AuthFileFault
from cliproxy.management.auth_file_list import listed, models_of
from cliproxy.management.endpoint import MIB, Call, Endpoint, json_response, parsed_body
from cliproxy.management.faults import ManagementFault
from cliproxy.management.file_changes import DONE, WRITE_ERRORS, Done
from cliproxy.management.form import FORM, is_form, read_form
from cliproxy.management.inventory import EVERY_MODEL, Entry, inventory
from cliproxy.management.operating import Operator
from cliproxy.management.upstream_keys import located, set_disabled
from cliproxy.management.yaml_document import YamlDocument
from cliproxy.providers import VENDORS

MAX_FILE_BYTES = MIB
_FIXED = frozenset({"type", "linked", "login_error"})
"""Fields that say what a file is: another upload or login makes another one."""


class AuthFiles(TypedDict):
    files: list[dict[str, Any]]


class Models(TypedDict):
    models: list[dict[str, str]]


class StatusSet(TypedDict):
    status: str
    disabled: bool


class Filter(BaseModel):
    name: str = ""
    auth_index: str = ""


class Named(BaseModel):
    name: str = ""


class Removal(BaseModel):
    name: list[str] = []
    all: Literal["", "true", "1", "*", "false", "0"] = ""
    """`true`: every file."""


class Names(BaseModel):
    name: str = ""
    names: list[str] = []


class Status(BaseModel):
    """`auth_index`, or the file's `name`; a key of the config has no file."""

    name: str = ""
    auth_index: str = ""
    disabled: bool


class Fields(BaseModel):
    """Fields to change beside the file's name, with dots for those of objects; null takes one away."""

    model_config = ConfigDict(extra="allow")

    name: str


def auth_dir_of(operator: Operator) -> AuthDir:
    return AuthDir(Path(operator.running.config.auth_dir))


def _checked(name: str) -> str:
    """Raises ManagementFault (400) for what is no name of an auth file, or one elsewhere."""
    try:
        return checked_name(name)
    except AuthFileFault as fault:
        raise ManagementFault(400, "invalid name", str(fault)) from None


# ---------------------------------------------------------------- reading


async def _list(call: Call[Filter, None]) -> dict[str, Any]:
    name, auth_index = call.query.name, call.query.auth_index
    files = await asyncio.to_thread(listed, call.operator)
    return {"files": [file for file in files if name in ("", file["name"]) and auth_index in ("", file["auth_index"])]}


async def _download(call: Call[Named, None]) -> Response:
    name = _checked(call.query.name)
    try:
        data = await asyncio.to_thread((auth_dir_of(call.operator).path / name).read_bytes)
    except FileNotFoundError:
        raise ManagementFault(404, "file not found") from None
    except OSError:
        raise ManagementFault(500, "failed to read file") from None
    headers = {"Content-Disposition": f"attachment; filename*=utf-8''{quote(name, safe='')}"}
    return Response(data, headers=headers, media_type="application/json")


async def _models(call: Call[Named, None]) -> dict[str, Any]:
    if not call.query.name:
        raise ManagementFault(400, "name is required")
    return {"models": models_of(call.operator, _entry(call.operator, call.query.name, ""))}


def _entry(operator: Operator, name: str, auth_index: str) -> Entry:
    """The entry of a file's name or an index. Raises ManagementFault (404)."""
    for entry in inventory(operator):
        if (auth_index or name) and auth_index in ("", entry.auth_index) and name in ("", entry.name, entry.label):
            return entry
    raise ManagementFault(404, "auth file not found")


# ---------------------------------------------------------------- uploading and removing


async def _upload(call: Call[Named, None]) -> Response:
    data = await call.read()
    if not is_form(call.request.headers):
        await _keep(call.operator, call.query.name, data)
        return json_response(DONE)
    files = (await read_form(call.request.headers, data)).files
    if not files:
        raise ManagementFault(400, "no files uploaded")
    if len(files) == 1:
        await _keep(call.operator, *files[0])
        return json_response(DONE)
    return await _each("uploaded", {name: partial(_keep, call.operator, name, content) for name, content in files})


async def _keep(operator: Operator, name: str, data: bytes) -> None:
    """Write one file. Raises ManagementFault."""
    name = _checked(name)
    if len(data) > MAX_FILE_BYTES:
        raise ManagementFault(413, "file too large", f"an auth file has at most {MAX_FILE_BYTES // MIB} MiB")
    auth_dir = auth_dir_of(operator)
    try:
        file = AuthFile.parse(data)
        if file.type not in VENDORS:
            raise AuthFileFault(f"no provider is called {file.type!r}")
        if file.linked:
            # It would have the gateway read other files of this machine.
            raise AuthFileFault("a link is made on the machine itself: `cliproxy credentials link`")
        async with auth_dir.lock(name):
            await asyncio.to_thread(auth_dir.write, name, file)
    except AuthFileFault as fault:
        raise ManagementFault(400, "invalid auth file", str(fault)) from None
    await operator.look_at_accounts()


async def _remove(call: Call[Removal, None]) -> Response:
    operator = call.operator
    if call.query.all in ("true", "1", "*"):
        names = list(await asyncio.to_thread(auth_dir_of(operator).scan))
        for name in names:
            await _drop(operator, name)
        return json_response({"status": "ok", "deleted": len(names)})
    names = call.query.name or _names(await call.read())
    names = list(dict.fromkeys(stripped for name in names if (stripped := name.strip())))
    if not names:
        raise ManagementFault(400, "invalid name")
    if len(names) == 1:
        await _drop(operator, names[0])
        return json_response(DONE)
    return await _each("deleted", {name: partial(_drop, operator, name) for name in names})


def _names(body: bytes) -> list[str]:
    if not body.strip():
        return []
    parsed = parsed_body(list[str] | Names, body)
    return parsed if isinstance(parsed, list) else [*([parsed.name] if parsed.name else []), *parsed.names]


async def _drop(operator: Operator, name: str) -> None:
    """Remove one file. Raises ManagementFault."""
    name, auth_dir = _checked(name), auth_dir_of(operator)
    try:
        async with auth_dir.lock(name):
            await asyncio.to_thread(auth_dir.remove, name)
    except AuthFileMissing:
        raise ManagementFault(404, "auth file not found") from None
    except AuthFileFault as fault:
        raise ManagementFault(500, "failed to remove file", str(fault)) from None
    await operator.look_at_accounts()


async def _each(done_as: str, work: Mapping[str, Callable[[], Awaitable[None]]]) -> Response:
    """Do all that can be done, by the files' names, and say what could not."""
    done: list[str] = []
    failed: list[dict[str, str]] = []
    for name, act in work.items():
        try:
            await act()
            done.append(name)
        except ManagementFault as fault:
            failed.append({"name": name, "error": str(fault)})
    if failed:
        answer = {"status": "partial", done_as: len(done), "files": done, "failed": failed}
        return json_response(answer, status=207)
    return json_response({"status": "ok", done_as: len(done), "files": done})


# ---------------------------------------------------------------- changing


async def _set_status(call: Call[None, Status]) -> dict[str, Any]:
    operator, wanted = call.operator, call.body
    if not wanted.name and not wanted.auth_index:
        raise ManagementFault(400, "name is required")
    entry = _entry(operator, wanted.name, wanted.auth_index)
    match entry.kind:
        case "account":
            await _edit(operator, entry.name, lambda file: file.with_fields(disabled=wanted.disabled or None))
            return {"status": "ok", "disabled": wanted.disabled}
        case "key":
            await _switch_key(operator, entry, disabled=wanted.disabled)
            how = {"via": "config:excluded-models", "excluded_pattern": EVERY_MODEL}
            return {"status": "ok", "disabled": wanted.disabled, **how}
        case _:
            raise ManagementFault(409, "cannot be disabled", "it is neither an account nor a key of the config file")


async def _switch_key(operator: Operator, entry: Entry, *, disabled: bool) -> None:
    def edit(document: YamlDocument) -> None:
        place = located(document, operator.running.config, entry.auth_index)
        if place is None:
            raise ManagementFault(404, "config api key entry not found")
        set_disabled(document, *place, disabled=disabled)

    await operator.config_file.edit(edit)


async def _set_fields(call: Call[None, Fields]) -> dict[str, Any]:
    changes = call.body.model_extra or {}
    if not changes:
        raise ManagementFault(400, "no fields to update")
    await _edit(call.operator, _entry(call.operator, call.body.name, "").name, lambda file: _changed(file, changes))
    return dict(DONE)


def _changed(file: AuthFile, changes: dict[str, Any]) -> AuthFile:
    """Raises AuthFileFault."""
    for path, value in changes.items():
        root, *below = (step.strip() for step in path.split("."))
        root = root.replace("-", "_")
        if root in _FIXED or not root or not all(below):
            raise AuthFileFault(f"{path}: this field cannot be changed")
        if below:
            value = _nested(file.fields.get(root), below, value)
        elif root == "headers" and isinstance(value, dict):
            value = {name: text for name, text in {**file.headers, **value}.items() if text not in ("", None)} or None
        file = file.with_fields(**{root: value})
    return file


def _nested(holder: Any, path: Sequence[str], value: Any) -> dict[str, Any]:
    """An object with a value set, or taken away, below some keys."""
    key, *rest = path
    copy = dict(holder) if isinstance(holder, dict) else {}
    copy[key] = _nested(copy.get(key), rest, value) if rest else value
    return {name: item for name, item in copy.items() if item is not None}


async def _edit(operator: Operator, name: str, change: Callable[[AuthFile], AuthFile]) -> None:
    """Change one file under its lock, so that no refresh comes in between. Raises ManagementFault."""
    auth_dir = auth_dir_of(operator)
    try:
        async with auth_dir.lock(name):
            file = await asyncio.to_thread(auth_dir.read, name)
            await asyncio.to_thread(auth_dir.write, name, change(file))
    except AuthFileMissing:
        raise ManagementFault(404, "auth file not found") from None
    except AuthFileFault as fault:
        raise ManagementFault(400, "invalid auth file", str(fault)) from None
    await operator.look_at_accounts()


ENDPOINTS: Sequence[Endpoint] = (
    Endpoint("GET", "/auth-files", _list, "All auth files", query=Filter, answer=AuthFiles),
    Endpoint(
        "POST",
        "/auth-files",
        _upload,
        "Keep files, as a form or raw with ?name=",
        query=Named,
        takes=FORM,
        partial=True,
    ),
    Endpoint(
        "DELETE",
        "/auth-files",
        _remove,
        "Remove files",
        query=Removal,
        takes="application/json",
        errors=(404,),
        partial=True,
    ),
    Endpoint("GET", "/auth-files/download", _download, "A file with its tokens", query=Named, errors=(404,)),
    Endpoint("GET", "/auth-files/models", _models, "What it offers", query=Named, answer=Models, errors=(404,)),
    Endpoint(
        "PATCH",
        "/auth-files/status",
        _set_status,
        "Switch an account or a key on or off",
        body=Status,
        answer=StatusSet,
        errors=(*WRITE_ERRORS, 409),
    ),
    Endpoint(
        "PATCH", "/auth-files/fields", _set_fields, "Change fields of a file", body=Fields, answer=Done, errors=(404,)
    ),
)
