"""What the management API answers when it does not do what it was asked for."""

from collections.abc import Mapping
from typing import Any


class ManagementFault(Exception):
    """An error answer: `{"error": …, "message": …}` and whatever else is known. Holds no secret."""

    def __init__(
        self, status: int, error: str, message: str = "", *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        """error: a word or short sentence, as CLIProxyAPI's. message: for people. more: further members."""
        super().__init__(message or error)
        self.status = status
        self.headers = dict(headers or {})
        self.body: dict[str, Any] = {"error": error, **({"message": message} if message else {}), **more}
