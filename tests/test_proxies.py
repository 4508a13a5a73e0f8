"""The mock proxies carry what is sent through them and record who asked for what."""

import pytest
from aiohttp import ClientSession
from aiohttp_socks import ProxyConnector

from tests import certificates
from tests.proxies import HttpProxy, Passage, Socks5Proxy
from tests.upstream import Upstream


async def test_http_proxy_tunnels_tls() -> None:
    async with Upstream(tls=True) as upstream, HttpProxy() as proxy, ClientSession() as client:
        asking = client.get(upstream.url, proxy=proxy.url, ssl=certificates.client_context())
        async with asking as answer:
            assert answer.status == 404
    assert proxy.passages == [Passage(f"127.0.0.1:{upstream.port}", "CONNECT")]


async def test_http_proxy_forwards_absolute_form_and_keeps_its_credentials_to_itself() -> None:
    async with Upstream() as upstream, HttpProxy() as proxy, ClientSession() as client:
        url = proxy.url.replace("//", "//test-user:test-word@")
        for path in ("/one?x=1", "/two"):
            async with client.post(upstream.url + path, proxy=url, data=b"body") as answer:
                assert answer.status == 404
    assert [(r.path, r.query, r.body) for r in upstream.requests] == [
        ("/one", "x=1", b"body"),
        ("/two", "", b"body"),
    ]
    assert "proxy-authorization" not in upstream.requests[0].headers
    assert proxy.passages == [Passage(f"127.0.0.1:{upstream.port}", "POST", "test-user:test-word")] * 2


@pytest.mark.parametrize("credentials", [None, "test-user:test-word"])
async def test_socks5_proxy_records_the_name_that_the_client_left_to_it(credentials: str | None) -> None:
    async with Upstream() as upstream, Socks5Proxy() as proxy:
        url = proxy.url.replace("//", f"//{credentials}@") if credentials else proxy.url
        async with ClientSession(connector=ProxyConnector.from_url(url, rdns=True)) as client:
            async with client.get(f"http://localhost:{upstream.port}/x") as answer:
                assert answer.status == 404
    assert proxy.passages == [Passage(f"localhost:{upstream.port}", "SOCKS5", credentials)]
    assert proxy.targets == [f"localhost:{upstream.port}"]
