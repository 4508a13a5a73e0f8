"""CLIProxyAPI's management API: each of its paths and methods is here, in the shape that its clients read."""

from typing import Any

import pytest

from tests.management.desk import Desk

FLAGS = (
    "debug", "logging-to-file", "usage-statistics-enabled", "request-log", "ws-auth", "force-model-prefix",
    "quota-exceeded/switch-project", "quota-exceeded/switch-preview-model",
)  # fmt: skip
NUMBERS = (
    "logs-max-total-size-mb", "error-logs-max-files", "request-retry", "max-retry-credentials", "max-retry-interval",
)  # fmt: skip
ENTRIES = (
    "api-keys", "gemini-api-key", "claude-api-key", "codex-api-key", "xai-api-key", "vertex-api-key",
    "interactions-api-key", "openai-compatibility",
)  # fmt: skip
MAPS = ("oauth-excluded-models", "oauth-model-alias", "oauth-request-scoped-errors")
ROUTES = {
    **dict.fromkeys((*FLAGS, *NUMBERS, "routing/strategy"), "GET PUT PATCH"),
    **dict.fromkeys((*ENTRIES, *MAPS), "GET PUT PATCH DELETE"),
    "interactions-api-key": "GET",  # the provider is not built
    "proxy-url": "GET PUT PATCH DELETE",
    "config": "GET",
    "config.yaml": "GET PUT",
    "latest-version": "GET",
    "auth-files": "GET POST DELETE",
    "auth-files/download": "GET",
    "auth-files/models": "GET",
    "auth-files/status": "PATCH",
    "auth-files/fields": "PATCH",
    "reset-quota": "POST",
    "api-key-usage": "GET",
    "usage-queue": "GET",
    "api-call": "POST",
    "model-definitions/{channel}": "GET",
    "logs": "GET DELETE",
    "request-error-logs": "GET",
    "request-error-logs/{name}": "GET",
    "request-log-by-id/{id}": "GET",
    "vertex/import": "POST",
    "get-auth-status": "GET",
    "oauth-callback": "GET POST",
    "oauth-session": "DELETE",
    "usage": "GET",
    "usage/export": "GET",
    "usage/import": "POST",
}
ANSWERS: dict[str, Any] = {
    **{path: {path.rpartition("/")[2]: bool} for path in FLAGS},
    **{path: {path: int} for path in NUMBERS},
    **{path: {path: list} for path in ENTRIES},
    **{path: {path: dict} for path in MAPS},
    "proxy-url": {"proxy-url": str},
    "routing/strategy": {"strategy": str},
    "latest-version": {"latest-version": str},
    "auth-files": {"files": list},
    "request-error-logs": {"files": list},
    "model-definitions/claude": {"channel": str, "models": list},
}


async def test_each_path_has_its_methods(desk: Desk) -> None:
    described = (await desk.get("/openapi.json"))["paths"]
    found = {
        path.removeprefix("/v0/management").removeprefix("/"): {method.upper() for method in item}
        for path, item in described.items()
    }
    missing = {path: set(methods.split()) - found.get(path, set()) for path, methods in ROUTES.items()}
    assert {path: methods for path, methods in missing.items() if methods} == {}


@pytest.mark.parametrize(("path", "shape"), ANSWERS.items())
async def test_each_answer_has_its_shape(desk: Desk, path: str, shape: dict[str, type]) -> None:
    answer = await desk.get(f"/{path}")
    assert {name: type(answer[name]) for name in shape} == shape


@pytest.mark.parametrize("path", [*FLAGS, *NUMBERS])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_each_setting_is_changed_by_value(desk: Desk, path: str, method: str) -> None:
    key = path.rpartition("/")[2]
    value = (await desk.get(f"/{path}"))[key]
    wanted = not value if isinstance(value, bool) else value + 1
    reply = await desk.ask(method, f"/{path}", {"value": wanted})
    assert (reply.status, reply.json["status"]) == (200, "ok")
    assert (await desk.get(f"/{path}"))[key] == wanted
    assert (await desk.ask(method, f"/{path}", {"value": "neither"})).status == 400


async def test_every_answer_names_the_version(desk: Desk) -> None:
    names = ("X-CPA-VERSION", "X-CPA-COMMIT", "X-CPA-BUILD-DATE", "X-CPA-SUPPORT-PLUGIN")
    for path in ("/config", "/nowhere"):
        reply = await desk.ask("GET", path)
        assert all(name in reply.headers for name in names)


async def test_nothing_is_there_of_plugins(desk: Desk) -> None:
    for path in ("/plugins", "/plugin-store"):
        assert (await desk.ask("GET", path)).status == 404
