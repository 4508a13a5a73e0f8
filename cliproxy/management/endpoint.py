"""One endpoint of the management API: what it takes, what it answers, and who does the work.

The same description checks what comes in and makes the OpenAPI document (`openapi.py`), so that the two agree.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from cliproxy.management.faults import ManagementFault
from cliproxy.management.operating import Operator
from cliproxy.wire import json

MIB = 1024 * 1024
MAX_BODY_BYTES = 8 * MIB
_JSON = "application/json"

Method = str
JsonSchema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call[Q, B]:
    """A request to an endpoint, checked. Q: its query, B: its body; None where it takes none."""

    operator: Operator
    request: Request
    query: Q
    body: B

    @property
    def place(self) -> Mapping[str, str]:
        """The parts of the path that are not fixed."""
        return self.request.path_params

    @property
    def expected_version(self) -> str:
        """Which version of the config file the client wants to change; empty: any."""
        return self.request.headers.get("if-match", "").strip().removeprefix("W/").strip('"').replace("*", "")

    async def read(self, max_bytes: int = MAX_BODY_BYTES) -> bytes:
        """The body as it came. Raises ManagementFault (413)."""
        return await read_body(self.request, max_bytes)


type Handler = Callable[[Call[Any, Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method of a path below `/v0/management`."""

    method: Method
    path: str
    """`/exchanges/{id}`"""
    handle: Handler
    """Returns what JSON can say, or a whole response. Raises ManagementFault."""
    summary: str
    query: type[BaseModel] | None = None
    body: Any = None
    """Type of the JSON body; None: none, or one that `handle` reads itself."""
    answer: Any = None
    """Type, or JSON Schema, of the answer; None: any object."""
    errors: Sequence[int] = ()
    """Further statuses, beside those that every endpoint has."""
    media_type: str = _JSON
    """Of the answer."""
    takes: str = ""
    """Media type of a body that `handle` reads itself."""
    partial: bool = False
    """It may have done only a part of what it was asked for (207)."""
    unwell: bool = False
    """It answers 503 in the same way as 200."""
    is_public: bool = False
    """It asks for no key."""
    tag: str = field(default="")

    async def __call__(self, operator: Operator, request: Request) -> Response:
        query = parsed_query(self.query, request) if self.query else None
        body = parsed_body(self.body, await read_body(request, MAX_BODY_BYTES)) if self.body is not None else None
        answer = await self.handle(Call(operator, request, query, body))
        return answer if isinstance(answer, Response) else json_response(answer)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(value), status, headers, media_type=_JSON)


async def read_body(request: Request, max_bytes: int) -> bytes:
    """A whole body. Raises ManagementFault (413)."""
    declared = request.headers.get("content-length", "")
    body = bytearray()
    if not (declared.isdecimal() and int(declared) > max_bytes):
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                break
        else:
            return bytes(body)
    raise ManagementFault(413, "body too large", f"it may have {max_bytes // MIB} MiB")


def parsed_query(kind: type[BaseModel], request: Request) -> BaseModel:
    """The query's parameters. Raises ManagementFault (400)."""
    sent: dict[str, Any] = {}
    for name, info in kind.model_fields.items():
        key = info.alias or name
        if values := request.query_params.getlist(key):
            sent[key] = values if get_origin(info.annotation) in (list, tuple) else values[-1]
    try:
        return kind.model_validate(sent)
    except ValidationError as error:
        raise _invalid("invalid query", error) from None


def parsed_body(kind: Any, data: bytes) -> Any:
    """A JSON body. Raises ManagementFault (400)."""
    try:
        return TypeAdapter(kind).validate_json(data, strict=True)
    except ValidationError as error:
        raise _invalid("invalid body", error) from None


def _invalid(what: str, error: ValidationError) -> ManagementFault:
    # Not the input, which may be a secret.
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    message = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in faults[:5])
    return ManagementFault(400, what, message)
