"""The dashboard's page: the files in `page/`, under a policy that lets nothing else run or load.

They are read once and looked up by their path, never opened by it: there is nothing to climb out of.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PAGE_PATH = "/management.html"
FILES_PATH = "/management/"
"""What the page loads lies below it."""

_FOLDER = Path(__file__).with_name("page")
_INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What is served, by its ending. Licences and versions lie beside it for people."""

PAGE_HEADERS = {
    # `trusted-types 'none'`: no text ever becomes markup or script, even by mistake.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Kept, but asked for again each time: a new release shows at once.
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    body: bytes
    headers: dict[str, str]
    etag: str
    """Quoted, as it stands in headers."""

    def is_known(self, if_none_match: str) -> bool:
        """Whether a client that sends this `If-None-Match` has the present body."""
        tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
        return self.etag in tags or "*" in tags


def page_files() -> dict[str, PageFile]:
    """Every file of the page by its URL's path."""
    found = {}
    for path in sorted(_FOLDER.rglob("*")):
        if path.suffix in _TYPES:
            name = path.relative_to(_FOLDER).as_posix()
            found[PAGE_PATH if name == _INDEX else FILES_PATH + name] = _read(path)
    return found


def _read(path: Path) -> PageFile:
    body = path.read_bytes()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return PageFile(body, {**PAGE_HEADERS, "Content-Type": _TYPES[path.suffix], "ETag": etag}, etag)


def page_routes() -> list[Route]:
    """The routes that serve the page, to GET and HEAD."""
    return [Route(path, _endpoint(file), methods=["GET"]) for path, file in page_files().items()]


def _endpoint(file: PageFile) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        if file.is_known(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=file.headers)
        return Response(file.body, headers=file.headers)

    return serve
