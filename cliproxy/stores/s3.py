"""Documents as objects of a bucket, in any service that speaks S3's protocol."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, GenericError, NotFoundError, PreconditionError
from obstore.store import S3Store as Bucket

from cliproxy.stores.store import AUTHS, CONFIG, Conflict, Document, Lockless, StoreAway, is_document

if TYPE_CHECKING:
    from obstore import PutMode, PutResult

POLLED_EVERY_S = 15.0
_TIMEOUT = "10s"
_FOLDERS = (CONFIG.partition("/")[0], AUTHS.rstrip("/"))
_NOT_IMPLEMENTED = "status code: 501"
"""In the messages of the library, which has no error of its own for it."""


class S3Store(Lockless):
    """See `Store`. Objects know no locks, and are removed without a condition: who removes looks right before.

    Services that know no conditions are written to in the same way.
    """

    name: ClassVar[str] = "S3"

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
            client_options={"allow_http": urlsplit(url).scheme == "http", "timeout": _TIMEOUT},
            retry_config={"max_retries": 1},
        )
        self._is_conditional = True
        """Whether the service takes conditions, as far as is known."""

    async def versions(self) -> Mapping[str, str]:
        with _away():
            # A bucket may hold much else, further down too.
            listed = [await obstore.list_with_delimiter_async(self._bucket, prefix=prefix) for prefix in _FOLDERS]
        found = [meta for one in listed for meta in one["objects"]]
        return {meta["path"]: str(meta["e_tag"]) for meta in found if is_document(meta["path"])}

    async def read(self, path: str, version: str | None = None) -> Document | None:
        try:
            with _away():
                found = await obstore.get_async(self._bucket, path)
                return Document(bytes(await found.bytes_async()), str(found.meta["e_tag"]))
        except FileNotFoundError:
            return None

    async def write(self, path: str, content: bytes, expected: str | None) -> str:
        await self._expect(path, expected)
        try:
            with _away():
                return str((await self._put(path, content, expected))["e_tag"])
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            raise Conflict(path) from None

    async def _put(self, path: str, content: bytes, expected: str | None) -> "PutResult":
        if self._is_conditional:
            mode: PutMode = "create" if expected is None else {"e_tag": expected}
            try:
                return await obstore.put_async(self._bucket, path, content, mode=mode)
            except GenericError as error:
                if _NOT_IMPLEMENTED not in str(error):
                    raise
                self._is_conditional = False
        return await obstore.put_async(self._bucket, path, content)

    async def remove(self, path: str, expected: str) -> None:
        await self._expect(path, expected)
        with _away():
            await obstore.delete_async(self._bucket, path)

    async def _expect(self, path: str, expected: str | None) -> None:
        try:
            with _away():
                found = str((await obstore.head_async(self._bucket, path))["e_tag"])
        except FileNotFoundError:
            found = None
        if found != expected:
            raise Conflict(path)

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
