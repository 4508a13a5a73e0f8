"""The dashboard's files: what is served, under which policy, and what they must never hold."""

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from posixpath import dirname, join, normpath

import pytest
from httpx import ASGITransport, AsyncClient
from starlette.applications import Starlette

from cliproxy.management import page
from cliproxy.management.page import FILES_PATH, PAGE_PATH, page_files, page_routes
from tests.management.conftest import At

FOLDER = Path(page.__file__).with_name("page")
VENDOR = FILES_PATH + "vendor/"
FILES = page_files()
OURS = {path: file.body.decode() for path, file in FILES.items() if not path.startswith(VENDOR)}
INDEX = OURS[PAGE_PATH]
SCRIPTS = {path: text for path, text in OURS.items() if path.endswith(".js")}
EMPTY_ELEMENTS = {"meta", "link", "img", "input", "br"}


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    application = ASGITransport(Starlette(routes=page_routes()))
    async with AsyncClient(transport=application, base_url="http://127.0.0.1:8317") as client:
        yield client


# ---------------------------------------------------------------- how it is served


@pytest.mark.parametrize("path", FILES)
async def test_each_file_is_served_under_a_strict_policy(client: AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.status_code == 200
    assert response.content == FILES[path].body
    kinds = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    assert response.headers["content-type"].partition(";")[0] == kinds[Path(path).suffix]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-cache"
    policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in response.headers["content-security-policy"]


async def test_a_file_that_is_known_is_not_sent_again(client: AsyncClient) -> None:
    first = await client.get(PAGE_PATH)
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await client.get(PAGE_PATH, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert (await client.get(PAGE_PATH, headers={"If-None-Match": '"other"'})).content == first.content


def test_tags_differ_with_what_they_name() -> None:
    assert len({file.etag for file in FILES.values()}) == len(FILES)


async def test_head_tells_the_same_without_the_body(client: AsyncClient) -> None:
    whole, head = await client.get(PAGE_PATH), await client.head(PAGE_PATH)
    assert head.content == b""
    assert head.headers == whole.headers


@pytest.mark.parametrize(
    "path",
    [
        "/management/../page.py",
        "/management/%2e%2e/page.py",
        "/management/%2e%2e%2f%2e%2e%2f%2e%2e%2fconfig.yaml",
        "/management/vendor/..%2f..%2fpage.py",
        "/management//etc/passwd",
        "/management/%00",
        "/management/",
        "/management/index.html",
        "/management/vendor/VERSIONS",
        "/management/vendor/chart.LICENSE",
        "/management.html/app.js",
    ],
)
async def test_nothing_but_the_pages_files_is_reached(client: AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_the_page_is_only_read(client: AsyncClient) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert (await client.request(method, PAGE_PATH)).status_code == 405


@pytest.mark.parametrize("path", [f"/{PAGE_PATH}", f"/{FILES_PATH}app.js"])
async def test_it_is_shown_without_a_key_to_those_who_may_come_in(desk_with: At, path: str) -> None:
    desk = await desk_with("")
    assert (await desk.ask("GET", path, key=None)).status == 200
    assert (await desk.ask("GET", path, key=None, peer="192.0.2.1")).status == 403


@pytest.mark.parametrize("path", [f"/{PAGE_PATH}", f"/{FILES_PATH}app.js"])
async def test_it_can_be_switched_off_alone(desk_with: At, path: str) -> None:
    desk = await desk_with("  disable-control-panel: true\n")
    assert (await desk.ask("GET", path)).status == 404
    assert (await desk.ask("GET", "/health")).status == 200


# ---------------------------------------------------------------- what it holds


class Markup(HTMLParser):
    """Every element with its attributes and those it lies in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], tuple[str, ...]]] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}, tuple(self._open)))
        if tag not in EMPTY_ELEMENTS:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> in line {self.getpos()[0]} closes something else"

    @property
    def is_complete(self) -> bool:
        return not self._open


MARKUP = Markup(INDEX)


def test_the_markup_is_well_formed() -> None:
    assert MARKUP.is_complete


def test_nothing_runs_or_styles_inline() -> None:
    for tag, attributes, _ in MARKUP.elements:
        assert tag != "style"
        assert tag != "script" or attributes.get("src")
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]


def test_text_is_only_bound_as_text() -> None:
    assert not [attributes for _, attributes, _ in MARKUP.elements if "x-html" in attributes]
    for path, text in SCRIPTS.items():
        found = re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text)
        assert not found, path


def test_nothing_comes_from_elsewhere() -> None:
    """Works without a network, and tells nobody that it is used."""
    for path, text in OURS.items():
        addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text)) - {"http://www.w3.org"}
        assert not addresses, path


def test_what_the_page_loads_is_served() -> None:
    links = [attributes.get("src") or attributes.get("href", "") for _, attributes, _ in MARKUP.elements]
    loaded = {normpath(join("/", link)) for link in links if link and not link.startswith("#")}
    for path, text in SCRIPTS.items():
        loaded |= {normpath(join(dirname(path), name)) for name in re.findall(r'from "(\./[^"]+)"', text)}
    # Both ways: nothing is missing, and nothing lies about unused.
    assert loaded | {PAGE_PATH} == set(FILES)


def test_each_section_of_the_page_has_its_code() -> None:
    wanted = {attributes["x-data"] for _, attributes, _ in MARKUP.elements if attributes.get("x-data")}
    registered = re.search(r"Object\.entries\(\{([^}]+)\}\)", OURS[FILES_PATH + "app.js"])
    assert registered
    assert set(re.findall(r"\w+", registered[1])) == wanted


def test_each_field_has_a_name_that_is_read_out() -> None:
    labelled = {attributes["for"] for tag, attributes, _ in MARKUP.elements if tag == "label" and "for" in attributes}
    for tag, attributes, around in MARKUP.elements:
        is_field = tag in ("input", "select", "textarea") or attributes.get("role") == "meter"
        if is_field and "hidden" not in attributes:
            names = attributes.keys() & {"aria-label", ":aria-label"}
            assert names or "label" in around or attributes.get("id") in labelled, attributes


def test_what_names_another_element_finds_it() -> None:
    ids = [attributes["id"] for _, attributes, _ in MARKUP.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes, _ in MARKUP.elements:
        for name in ("aria-labelledby", "aria-describedby", "for", "data-closes"):
            assert name not in attributes or attributes[name] in ids, attributes


def test_vendored_files_are_what_is_said_with_their_licences() -> None:
    versions = dict(line.split() for line in (FOLDER / "vendor/VERSIONS").read_text("utf-8").splitlines())
    assert f"Chart.js v{versions['chart.js']}" in FILES[VENDOR + "chart.js"].body.decode()
    assert f'version:"{versions["@alpinejs/csp"]}"' in FILES[VENDOR + "alpine.js"].body.decode()
    for name in ("alpine", "chart", "color", "reactivity"):
        licence = (FOLDER / f"vendor/{name}.LICENSE").read_text("utf-8")
        assert "Permission is hereby granted, free of charge" in licence
        assert "Copyright" in licence
