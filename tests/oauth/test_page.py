"""The page after a login says what happened, and nothing in it comes alive."""

import hashlib
import re
from base64 import b64encode

from cliproxy.oauth.page import PAGE_HEADERS, Page


def test_texts_are_escaped() -> None:
    page = Page(400, "<b>Not</b>", "\"><script>alert('x')</script>&amp;")
    assert "<script" not in page.html
    assert "<h1>&lt;b&gt;Not&lt;/b&gt;</h1>" in page.html
    assert "&amp;amp;" in page.html


def test_the_policy_allows_the_pages_own_style_and_nothing_else() -> None:
    style = re.search("<style>(.*)</style>", Page(200, "", "").html)
    assert style
    digest = b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert PAGE_HEADERS["Content-Security-Policy"].startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "src=" not in Page(200, "", "").html
