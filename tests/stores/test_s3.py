"""cliproxy.stores.s3 with a service that ends in the middle of a call, or knows less than others."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal

import boto3
import pytest
from aiohttp import ClientSession, web
from moto.server import ThreadedMotoServer

from cliproxy.stores.s3 import S3Store
from cliproxy.stores.store import CONFIG, Conflict, StoreAway
from tests.stores.side import A, Side, login

BUCKET = "bucket"
KEYS = {"aws_access_key_id": "test-access", "aws_secret_access_key": "test-secret", "region_name": "us-east-1"}
CONDITIONS = ("If-Match", "If-None-Match")
KEPT = ("etag", "last-modified", "content-length", "content-type")


class Front:
    """Before a real service: spoils what is put there."""

    url: str

    def __init__(self, behind: str, client: ClientSession) -> None:
        self._behind = behind
        self._client = client
        self.puts: Literal["pass", "end before", "end after", "know no conditions"] = "pass"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        assert request.transport
        is_put = request.method == "PUT"
        if is_put and self.puts == "know no conditions" and any(name in request.headers for name in CONDITIONS):
            return web.Response(status=501, text="<Error><Code>NotImplemented</Code></Error>")
        body = await request.content.read(8) if is_put and self.puts == "end before" else await request.read()
        if is_put and self.puts == "end before":
            request.transport.abort()
            return web.Response()
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        async with self._client.request(
            request.method, self._behind + request.raw_path, headers=headers, data=body
        ) as answer:
            if is_put and self.puts == "end after":
                request.transport.abort()
            kept = {name: value for name, value in answer.headers.items() if name.lower() in KEPT}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
async def front(service: str) -> AsyncIterator[Front]:
    storage = boto3.client("s3", endpoint_url=service, **KEYS)
    storage.create_bucket(Bucket=BUCKET)
    async with ClientSession(auto_decompress=False) as client:
        running = Front(service, client)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", running.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        running.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield running
        await runner.cleanup()
    for entry in storage.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        storage.delete_object(Bucket=BUCKET, Key=entry["Key"])


def store_of(front: Front) -> S3Store:
    return S3Store(front.url, BUCKET, "test-access", "test-secret")


@pytest.mark.parametrize("path", [CONFIG, A])
@pytest.mark.parametrize("end", ["end before", "end after"])
async def test_a_service_that_ends_in_a_put_becomes_alike(
    front: Front, tmp_path: Path, path: str, end: Literal["end before", "end after"]
) -> None:
    def content(number: int) -> bytes:
        return b"port: %d\n" % number if path == CONFIG else login("1", "01", note=str(number))

    left, right = Side(tmp_path / "left", store_of(front)), Side(tmp_path / "right", store_of(front))
    left.put(path, content(1))
    await left.sync()
    left.put(path, content(2))
    front.puts = end
    with pytest.raises(StoreAway):
        await left.sync()
    front.puts = "pass"
    await right.sync()
    assert right.files == {path: content(2 if end == "end after" else 1)}
    left.put(path, content(3))
    await left.anew().sync()
    await right.sync()
    assert left.files == right.files == {path: content(3)}


async def test_a_service_without_conditions_is_looked_at_before(front: Front) -> None:
    front.puts = "know no conditions"
    left, right = store_of(front), store_of(front)
    first = await left.write(A, login("1", "01"), None)
    second = await right.write(A, login("2", "02"), first)
    for late in (None, first):
        with pytest.raises(Conflict):
            await left.write(A, login("3", "03"), late)
    assert await left.read(A) == (login("2", "02"), second)


async def test_names_of_accounts_are_kept_and_what_is_not_ours_is_left_alone(
    front: Front, service: str, tmp_path: Path
) -> None:
    side = Side(tmp_path / "left", store_of(front))
    names = {f"auths/{name}.json" for name in ("codex-me@example.com", "a b", "ü%20", "x+y~(1)", "Upper")}
    for name in names:
        side.put(name, login("1", "01"))
    await side.sync()
    storage = boto3.client("s3", endpoint_url=service, **KEYS)
    for key in ("auths/sub/x.json", "auths/.x.json", "other/x.json", "config/other.yaml", "x.json"):
        storage.put_object(Bucket=BUCKET, Key=key, Body=b"{}")
    assert (await side.store.versions()).keys() == names
    right = Side(tmp_path / "right", store_of(front))
    await right.sync()
    assert right.files.keys() == names
