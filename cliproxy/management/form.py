"""Forms with files, held in memory: they hold secrets, which are not to lie in a directory for temporary files."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from cliproxy.management.faults import ManagementFault

FORM = "multipart/form-data"
MAX_FILES = 200
MAX_FIELDS = 20


class Form(NamedTuple):
    fields: Mapping[str, str]
    files: Sequence[tuple[str, bytes]]
    """Names, without directories, and contents."""


class _InMemory(MultiPartParser):
    spool_max_size = 2**62


def is_form(headers: Headers) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == FORM


async def read_form(headers: Headers, data: bytes) -> Form:
    """What a body holds. Raises ManagementFault (400)."""
    try:
        parsed = await _InMemory(headers, _once(data), max_files=MAX_FILES, max_fields=MAX_FIELDS).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise ManagementFault(400, "invalid multipart form", str(error) or "it cannot be read") from None
    try:
        fields = {name: value for name, value in parsed.multi_items() if isinstance(value, str)}
        files = [value for _, value in parsed.multi_items() if not isinstance(value, str)]
        return Form(fields, [(_base_name(file.filename or ""), await file.read()) for file in files])
    finally:
        await parsed.close()


def _base_name(name: str) -> str:
    """Of a file on another machine, some programs send the whole path."""
    return name.replace("\\", "/").rpartition("/")[2]


async def _once(data: bytes) -> AsyncGenerator[bytes, None]:
    yield data
