"""Endpoints of the log: its files, as CLIProxyAPI's, and what is in memory of it."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict

from pydantic import BaseModel, Field
from starlette.responses import Response

from cliproxy.logs.logs import CAPTURE_S
from cliproxy.management.endpoint import Call, Endpoint
from cliproxy.management.faults import ManagementFault
from cliproxy.management.log_files import MAX_LINES, LogFiles
from cliproxy.management.operating import Operator
from cliproxy.management.recent_log import MAX_RECORDS

_TEXT = "text/plain"


class Reading(BaseModel):
    limit: int = Field(MAX_LINES, ge=1)
    after: int = Field(0, ge=0)
    """Only lines later than this; UTC epoch seconds."""
    cursor: str = ""
    """`next-cursor` of an earlier answer: only what has come since."""


class Recent(BaseModel):
    limit: int = Field(500, ge=1, le=MAX_RECORDS)


class RecordView(TypedDict):
    seq: int
    time_s: float
    level: str
    logger: str
    text: str


class Records(TypedDict):
    records: list[RecordView]


class Cleared(TypedDict):
    success: bool
    message: str
    removed: int


class Capture(TypedDict):
    until_s: float | None
    """UTC epoch seconds; null: requests are not captured."""


class LogFileView(TypedDict):
    name: str
    size: int
    modified: int


class LogFilesView(TypedDict):
    files: list[LogFileView]


Lines = TypedDict("Lines", {"lines": list[str], "line-count": int, "latest-timestamp": int, "next-cursor": str})


async def _read[T](operator: Operator, work: Callable[[LogFiles], T]) -> T:
    try:
        return await asyncio.to_thread(work, LogFiles(operator.logs.folder))
    except OSError as error:
        raise ManagementFault(500, "the log files cannot be read", error.strerror or "") from None


async def _lines(call: Call[Reading, None]) -> dict[str, Any]:
    _check_enabled(call.operator)
    wanted, limit = call.query, min(call.query.limit, MAX_LINES)

    def read(files: LogFiles) -> Any:
        return files.since(wanted.cursor, limit) if wanted.cursor else files.newest(limit, wanted.after)

    found = await _read(call.operator, read)
    answer = {
        "lines": list(found.lines),
        "line-count": len(found.lines),
        "latest-timestamp": found.latest_s or wanted.after,
        "next-cursor": found.cursor,
    }
    return answer | ({"cursor-reset": True} if found.is_reset else {})


async def _clear(call: Call[None, None]) -> dict[str, Any]:
    _check_enabled(call.operator)
    removed = await _read(call.operator, LogFiles.clear)
    return {"success": True, "message": "Logs cleared successfully", "removed": removed}


def _check_enabled(operator: Operator) -> None:
    if not operator.running.config.logging_to_file:
        raise ManagementFault(400, "logging to file disabled")


async def _recent(call: Call[Recent, None]) -> dict[str, Any]:
    return {"records": [record._asdict() for record in call.operator.log.newest(call.query.limit)]}


async def _capture(call: Call[None, None]) -> dict[str, Any]:
    return {"until_s": call.operator.logs.captures_until_s}


async def _begin_capture(call: Call[None, None]) -> dict[str, Any]:
    call.operator.logs.capture(CAPTURE_S)
    return await _capture(call)


async def _end_capture(call: Call[None, None]) -> dict[str, Any]:
    call.operator.logs.capture(0)
    return await _capture(call)


async def _errors(call: Call[None, None]) -> dict[str, Any]:
    files = await _read(call.operator, LogFiles.errors)
    return {"files": [{"name": file.name, "size": file.size_bytes, "modified": file.modified_s} for file in files]}


async def _error(call: Call[None, None]) -> Response:
    return await _file(call.operator, lambda files: files.error(call.place["name"]))


async def _request(call: Call[None, None]) -> Response:
    return await _file(call.operator, lambda files: files.request(call.place["id"]))


async def _file(operator: Operator, find: Callable[[LogFiles], Path | None]) -> Response:
    def read(files: LogFiles) -> tuple[str, bytes] | None:
        path = find(files)
        return (path.name, path.read_bytes()) if path else None

    found = await _read(operator, read)
    if found is None:
        raise ManagementFault(404, "log file not found")
    name, data = found
    return Response(data, headers={"Content-Disposition": f'attachment; filename="{name}"'}, media_type=_TEXT)


ENDPOINTS: Sequence[Endpoint] = (
    Endpoint("GET", "/logs", _lines, "Lines of the log's files", query=Reading, answer=Lines),
    Endpoint("DELETE", "/logs", _clear, "Empty the log", answer=Cleared),
    Endpoint("GET", "/logs/recent", _recent, "The newest of the log, from memory", query=Recent, answer=Records),
    Endpoint("GET", "/request-capture", _capture, "Whether each request is captured now", answer=Capture),
    Endpoint("POST", "/request-capture", _begin_capture, "Capture each request for 30 seconds", answer=Capture),
    Endpoint("DELETE", "/request-capture", _end_capture, "End that", answer=Capture),
    Endpoint("GET", "/request-error-logs", _errors, "Files of failed requests", answer=LogFilesView),
    Endpoint("GET", "/request-error-logs/{name}", _error, "One of them", media_type=_TEXT, errors=(404,)),
    Endpoint("GET", "/request-log-by-id/{id}", _request, "The file of a request", media_type=_TEXT, errors=(404,)),
)
