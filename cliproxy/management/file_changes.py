"""What all endpoints of the config file have in common: the version with what is read, and the answer to a change."""

from typing import Any, Literal, TypedDict

from starlette.responses import Response

from cliproxy.management.config_file import Edit
from cliproxy.management.endpoint import Call, json_response

READ_ERRORS = (404, 422)
"""What may keep the file from being read."""
WRITE_ERRORS = (404, 412, 422)


class Done(TypedDict):
    status: Literal["ok"]


DONE: Done = {"status": "ok"}


async def versioned(call: Call[Any, Any], value: Any) -> Response:
    """What was read, with the version of the file."""
    return json_response(value, headers={"ETag": f'"{(await call.operator.config_file.read()).version}"'})


async def changed(call: Call[Any, Any], edit: Edit) -> Response:
    """Change the file, on the version that the client knows. Raises ManagementFault."""
    version = await call.operator.config_file.edit(edit, call.expected_version)
    return json_response(DONE, headers={"ETag": f'"{version}"'})
