"""cliproxy.providers.queries: what a vendor's endpoint may answer, and what may not be told of it."""

import httpx
import pytest

from cliproxy.oauth.errors import EndpointTrouble
from cliproxy.providers.queries import ask

TOKEN = "test-access-1"


async def asked(answer: httpx.Response | Exception, **headers: str) -> tuple[object, httpx.Request]:
    seen: list[httpx.Request] = []

    def endpoint(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with httpx.AsyncClient(transport=httpx.MockTransport(endpoint)) as http:
        return await ask(http, "https://vendor.test/usage?x=1", TOKEN, **headers), seen[0]


async def test_an_object_is_an_answer() -> None:
    found, request = await asked(httpx.Response(200, json={"a": 1}), ChatGPT_Account_Id="id-1")
    assert found == {"a": 1}
    assert (request.method, str(request.url)) == ("GET", "https://vendor.test/usage?x=1")
    assert (request.headers["authorization"], request.headers["chatgpt-account-id"]) == (f"Bearer {TOKEN}", "id-1")


async def test_403_is_none() -> None:
    found, _ = await asked(httpx.Response(403, text="no"))
    assert found is None


@pytest.mark.parametrize(
    ("answer", "wait_s"),
    [
        (httpx.Response(200, json=[]), None),
        (httpx.Response(200, text="<html>"), None),
        (httpx.Response(302, headers={"location": "https://elsewhere.test"}), None),
        (httpx.Response(401, json={"error": TOKEN}), None),
        (httpx.Response(429, headers={"retry-after": "30"}), 30.0),
        (httpx.Response(503, headers={"retry-after": "soon"}), None),
        (httpx.ConnectError(f"no route for {TOKEN}"), None),
        (httpx.ReadTimeout("slow"), None),
    ],
)
async def test_everything_else_is_trouble(answer: httpx.Response | Exception, wait_s: float | None) -> None:
    with pytest.raises(EndpointTrouble) as trouble:
        await asked(answer)
    assert trouble.value.retry_after_s == wait_s
    assert TOKEN not in str(trouble.value)


async def test_an_address_that_is_none_is_trouble() -> None:
    async with httpx.AsyncClient() as http:
        with pytest.raises(EndpointTrouble):
            await ask(http, "https://[bad", TOKEN)
