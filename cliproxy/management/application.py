"""The starlette application: all endpoints behind the guard, what lies beside them, and the dashboard's page."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cliproxy.management import (
    api_call,
    auth_files,
    client_keys,
    configuration,
    credentials,
    events,
    health,
    logins,
    logs,
    models,
    pasted_logins,
    provider_maps,
    settings,
    upstream_keys,
    usage,
)
from cliproxy.management.authentication import is_loopback
from cliproxy.management.configuration import running_version
from cliproxy.management.endpoint import Call, Endpoint, json_response
from cliproxy.management.faults import ManagementFault
from cliproxy.management.openapi import document
from cliproxy.management.operating import Operator
from cliproxy.management.page import page_routes
from cliproxy.management.prometheus import CONTENT_TYPE, exposition

logger = logging.getLogger(__name__)

BASE_PATH = "/v0/management"
_GROUPS: Mapping[str, Sequence[Endpoint]] = {
    "settings": settings.ENDPOINTS,
    "configuration": configuration.ENDPOINTS,
    "client keys": client_keys.ENDPOINTS,
    "upstream keys": upstream_keys.ENDPOINTS,
    "provider settings": provider_maps.ENDPOINTS,
    "credentials": credentials.ENDPOINTS,
    "auth files": auth_files.ENDPOINTS,
    "logins": (*logins.ENDPOINTS, *pasted_logins.ENDPOINTS),
    "usage": usage.ENDPOINTS,
    "models": models.ENDPOINTS,
    "logs": logs.ENDPOINTS,
    "state": (*health.ENDPOINTS, *events.ENDPOINTS),
    "calls": api_call.ENDPOINTS,
}
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-CPA-VERSION": running_version(),
    "X-CPA-COMMIT": "none",
    "X-CPA-BUILD-DATE": "unknown",
    "X-CPA-SUPPORT-PLUGIN": "false",
}
"""Of every answer of the tree."""

type Answering = Callable[[Request], Awaitable[Response]]


async def _describe(call: Call[None, None]) -> dict[str, Any]:
    return description()


def endpoints() -> list[Endpoint]:
    """All of the tree."""
    grouped = [replace(endpoint, tag=tag) for tag, group in _GROUPS.items() for endpoint in group]
    return [*grouped, Endpoint("GET", "/openapi.json", _describe, "This document", tag="state")]


@cache
def description() -> dict[str, Any]:
    """The OpenAPI document."""
    return document(endpoints(), BASE_PATH, running_version())


def application(operator: Operator) -> ASGIApp:
    """Answers the paths that `cliproxy.routes.is_management` names."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints():
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    return Starlette(
        routes=[
            *(Route(BASE_PATH + path, _Path(operator, methods)) for path, methods in by_path.items()),
            Route(BASE_PATH, _Path(operator, {})),
            Route(f"{BASE_PATH}/{{rest:path}}", _Path(operator, {})),
            *_beside(operator),
        ]
    )


class _Path:
    """One path of the tree with its methods; without any there is nothing at it, which only who may come in is told."""

    def __init__(self, operator: Operator, methods: Mapping[str, Endpoint]) -> None:
        self._operator = operator
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await _safely(self._answer, Request(scope, receive))
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        operator = self._operator
        guard, remote = operator.guard, operator.running.config.remote_management
        endpoint = self._methods.get("GET" if request.method == "HEAD" else request.method)
        if not (endpoint and endpoint.is_public and guard.is_open(remote)):
            await guard.admit(remote, _peer(request), _presented_key(request))
        if endpoint:
            return await endpoint(operator, request)
        if self._methods:
            raise ManagementFault(405, "method not allowed", headers={"Allow": ", ".join(sorted(self._methods))})
        raise ManagementFault(404, "not found")


async def _safely(answer: Answering, request: Request) -> Response:
    """An answer in any case."""
    try:
        return await answer(request)
    except ManagementFault as fault:
        return json_response(fault.body, fault.status, fault.headers)
    except Exception:
        logger.exception("the management API failed on %s %s", request.method, request.url.path)
        return json_response({"error": "internal error", "message": "the log says more"}, 500)


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _presented_key(request: Request) -> str | None:
    authorization = request.headers.get("authorization", "").strip()
    scheme, _, rest = authorization.partition(" ")
    bearer = rest.strip() if scheme.lower() == "bearer" else authorization
    return bearer or request.headers.get("x-management-key")


# ---------------------------------------------------------------- beside the tree


def _beside(operator: Operator) -> Sequence[BaseRoute]:
    async def ready(request: Request) -> Response:
        return await health.ready(operator)

    async def callback(request: Request) -> Response:
        return logins.callback_page(operator, request)

    async def metrics(request: Request) -> Response:
        return await _safely(lambda request: _metrics(operator, request), request)

    return [
        Route("/readyz", ready),
        Route("/metrics", metrics),
        *(Route(f"/{name}/callback", callback) for name in logins.CALLBACKS),
        *(_only_where_shown(operator, route) for route in page_routes()),
    ]


async def _metrics(operator: Operator, request: Request) -> Response:
    config = operator.running.config
    if not config.metrics.enabled:
        raise ManagementFault(404, "not found")
    if not is_loopback(_peer(request)):
        await operator.guard.admit(config.remote_management, _peer(request), _presented_key(request))
    return Response(exposition(operator), media_type=CONTENT_TYPE)


def _only_where_shown(operator: Operator, route: Route) -> Route:
    """A file of the dashboard's page, unless it is switched off, and for those who may come in."""
    serve: Answering = route.endpoint

    async def shown(request: Request) -> Response:
        remote = operator.running.config.remote_management
        if remote.disable_control_panel:
            raise ManagementFault(404, "not found")
        operator.guard.admit_peer(remote, _peer(request))
        return await serve(request)

    async def answer(request: Request) -> Response:
        return await _safely(shown, request)

    return Route(route.path, answer)
