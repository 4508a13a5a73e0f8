"""The page that a browser shows after it has brought the answer of an authorization server."""

import hashlib
import html
from base64 import b64encode
from dataclasses import dataclass

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{margin:0;min-height:100vh;display:grid;place-items:center;font:1.1rem/1.5 system-ui,sans-serif}"
    "main{max-width:34rem;padding:2rem}"
    "h1{font-size:1.5rem;margin:0 0 .5rem}"
    "p{margin:0;overflow-wrap:anywhere}"
)
_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""The address of the page holds the code: it goes into no cache and no further request."""


@dataclass(frozen=True, slots=True)
class Page:
    """What to answer the browser, with `PAGE_HEADERS`."""

    status: int
    title: str
    text: str

    @property
    def html(self) -> str:
        title, text = html.escape(self.title), html.escape(self.text)
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<title>{title}</title><style>{_STYLE}</style></head>"
            f"<body><main><h1>{title}</h1><p>{text}</p></main></body></html>\n"
        )
