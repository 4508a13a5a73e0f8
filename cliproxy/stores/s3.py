"""Documents as objects of a bucket, in any service that speaks S3's protocol."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError
from obstore.store import S3Store as Bucket

from cliproxy.stores.store import Conflict, Document, StoreAway, is_document

if TYPE_CHECKING:
    from obstore import PutMode

POLLED_EVERY_S = 15.0


class S3Store:
    """See `Store`. Objects know no locks, and are removed without a condition: who removes looks right before."""

    def __init__(self, endpoint: str, bucket: str, access_key: str, secret_key: str, region: str = "us-east-1") -> None:
        """endpoint: `https://host`, or a host alone."""
        url = endpoint if "://" in endpoint else f"https://{endpoint}"
        self._bucket = Bucket(
            bucket,
            endpoint=url.rstrip("/"),
            access_key_id=access_key,
            secret_access_key=secret_key,
            region=region,
            virtual_hosted_style_request=False,
            client_options={"allow_http": urlsplit(url).scheme == "http", "timeout": "30s"},
            retry_config={"max_retries": 2},
        )

    async def versions(self) -> Mapping[str, str]:
        with _away():
            found = [meta async for page in obstore.list(self._bucket) for meta in page]
        return {meta["path"]: str(meta["e_tag"]) for meta in found if is_document(meta["path"])}

    async def read(self, path: str) -> Document | None:
        try:
            with _away():
                found = await obstore.get_async(self._bucket, path)
                return Document(bytes(await found.bytes_async()), str(found.meta["e_tag"]))
        except FileNotFoundError:
            return None

    async def write(self, path: str, content: bytes, expected: str | None) -> str:
        try:
            with _away():
                mode: PutMode = "create" if expected is None else {"e_tag": expected}
                return str((await obstore.put_async(self._bucket, path, content, mode=mode))["e_tag"])
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            raise Conflict(path) from None

    async def remove(self, path: str, expected: str) -> None:
        found = await self.read(path)
        if found is None or found.version != expected:
            raise Conflict(path)
        with _away():
            await obstore.delete_async(self._bucket, path)

    @asynccontextmanager
    async def lock(self, path: str) -> AsyncIterator[None]:
        yield

    async def changes(self) -> AsyncGenerator[None]:
        known: Mapping[str, str] | None = None
        while True:
            if (now := await self.versions()) != known:
                known = now
                yield
            await asyncio.sleep(POLLED_EVERY_S)

    async def close(self) -> None:
        """There is nothing to let go of."""


@contextmanager
def _away() -> Iterator[None]:
    """A service's troubles; its messages quote addresses and more."""
    try:
        yield
    except (AlreadyExistsError, PreconditionError):
        raise
    except (NotFoundError, FileNotFoundError):
        raise FileNotFoundError from None
    except (BaseError, OSError) as error:
        raise StoreAway(f"S3: {type(error).__name__.removesuffix('Error') or 'trouble'}") from None
