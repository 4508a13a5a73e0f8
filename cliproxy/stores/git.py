"""Documents in a branch of a Git repository: each change is a commit that is pushed.

Nothing is checked out, and what was fetched can be thrown away at any time. Commits are made onto what was fetched
last; the remote takes one only where nobody else was faster, and then it is made anew onto what the other one did.
"""

import asyncio
import shutil
import time
import zlib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from stat import S_IFDIR, S_IFREG, S_ISREG
from typing import ClassVar

from dulwich.client import HTTPProxyUnauthorized, HTTPUnauthorized, get_transport_and_path
from dulwich.config import ConfigFile, StackedConfig
from dulwich.errors import (
    ApplyDeltaError,
    ChecksumMismatch,
    FileFormatException,
    GitProtocolError,
    NotGitRepository,
    WrongObjectException,
)
from dulwich.file import FileLocked
from dulwich.objects import ZERO_SHA, Blob, Commit, ObjectID, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo
from urllib3.exceptions import HTTPError

from cliproxy.stores.store import Conflict, Document, Lockless, StoreAway, is_document

POLLED_EVERY_S = 15.0
_TRIES = 10
_AUTHOR = b"cliproxy <cliproxy@localhost>"
_FILE, _FOLDER = S_IFREG | 0o644, S_IFDIR
_FETCHED = Ref(b"refs/heads/fetched")
_HTTP_TIMEOUT = b"10"
"""Seconds of silence."""

_TROUBLES = (GitProtocolError, NotGitRepository, HTTPUnauthorized, HTTPProxyUnauthorized, HTTPError, OSError)
_DAMAGES = (
    KeyError, ValueError, AssertionError, ApplyDeltaError, ChecksumMismatch, FileFormatException, WrongObjectException,
    FileLocked, zlib.error,
)  # fmt: skip
"""What is said of a repository that is not whole, as one is whose writer was killed or whose disk was full."""


class _Overtaken(Exception):
    """Someone else has pushed meanwhile, or does so now."""


class _Refused(_Overtaken):
    """The remote has not taken what was pushed, perhaps for the same reason."""


class GitStore(Lockless):
    """See `Store`. Repositories know no locks."""

    name: ClassVar[str] = "Git"

    def __init__(self, url: str, folder: Path, branch: str = "", username: str = "", token: str = "") -> None:
        """folder: for what was fetched. branch: empty: the repository's own."""
        self._client, self._path = get_transport_and_path(
            url,
            config=_config(),
            username=username or ("git" if token else None),
            password=token or None,
            quiet=True,
        )
        self._folder = folder
        self._branch = f"refs/heads/{branch}".encode() if branch else b""
        self._thread = ThreadPoolExecutor(1, "git")
        """One at a time; a remote that says nothing must not take up the threads of all others."""
        self._known: Repo | None = None

    async def _apart[**Given, Result](
        self, work: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
    ) -> Result:
        return await asyncio.wrap_future(self._thread.submit(work, *given, **named))

    async def versions(self) -> Mapping[str, str]:
        return await self._apart(self._versions)

    def _versions(self) -> Mapping[str, str]:
        with self._fetched() as (repo, _, head):
            return {path: blob.decode() for path, blob in _blobs(repo, head).items()}

    async def read(self, path: str, version: str | None = None) -> Document | None:
        return await self._apart(self._read, path, version)

    def _read(self, path: str, version: str | None) -> Document | None:
        with self._whole():
            if version and (known := self._known) and (id := ObjectID(version.encode())) in known:
                # A version is the name of the content.
                return Document(known[id].as_raw_string(), version)
        with self._fetched() as (repo, _, head):
            blob = _blobs(repo, head).get(path)
            return Document(repo[blob].as_raw_string(), blob.decode()) if blob else None

    async def write(self, path: str, content: bytes, expected: str | None) -> str:
        return await self._apart(self._change, path, content, expected)

    async def remove(self, path: str, expected: str) -> None:
        await self._apart(self._change, path, None, expected)

    def _change(self, path: str, content: bytes | None, expected: str | None) -> str:
        refused: ObjectID | None = ZERO_SHA
        """The commit that something was refused on."""
        for _ in range(_TRIES):
            with self._fetched() as (repo, branch, head):
                found = _blobs(repo, head).get(path)
                if (found.decode() if found else None) != expected:
                    raise Conflict(path)
                blob = None if content is None else Blob.from_string(content)
                if blob:
                    repo.object_store.add_object(blob)
                commit = _commit(repo, head, path, blob)
                try:
                    self._push(repo, branch, head, commit)
                except _Refused:
                    if refused == head:
                        raise StoreAway("Git: the remote does not take what is pushed") from None
                    refused = head
                except _Overtaken:
                    continue
                else:
                    return blob.id.decode() if blob else ""
        raise StoreAway("Git: others push all the time")

    def _push(self, repo: Repo, branch: bytes, head: ObjectID | None, commit: Commit) -> None:
        def updated(refs: dict[Ref, ObjectID]) -> dict[Ref, ObjectID]:
            if refs.get(Ref(branch), ZERO_SHA) != (head or ZERO_SHA):
                raise _Overtaken
            return {Ref(branch): commit.id}

        try:
            result = self._client.send_pack(self._path.encode(), updated, repo.generate_pack_data)  # pyright: ignore[reportArgumentType] - as in dulwich's own callers
        except FileLocked:
            # Of a repository on this machine.
            raise _Overtaken from None
        if any((result.ref_status or {}).values()):
            raise _Refused

    @contextmanager
    def _fetched(self) -> Iterator[tuple[Repo, bytes, ObjectID | None]]:
        """The objects, the branch, and its commit of now; None: there is none yet."""
        with self._whole():
            repo = self._repo()
            branch, head = self._fetch(repo)
            for _ in range(_TRIES):
                if head is None or head in repo:
                    break
                # Of a repository on this machine, what was pushed meanwhile is told, though it was not fetched.
                branch, head = self._fetch(repo)
            if head:
                # What is there need not be fetched once more.
                repo.refs[_FETCHED] = head
            yield repo, branch, head

    def _fetch(self, repo: Repo) -> tuple[bytes, ObjectID | None]:
        def wanted(refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:
            head = refs.get(Ref(self._branch or b"HEAD"))
            return [head] if head and head not in repo else []

        fetched = self._client.fetch(self._path, repo, wanted)
        branch = self._branch or fetched.symrefs.get(Ref(b"HEAD")) or b"refs/heads/main"
        return branch, fetched.refs.get(Ref(branch))

    def _repo(self) -> Repo:
        if self._known is None:
            try:
                self._known = Repo(str(self._folder))
            except NotGitRepository:
                # Perhaps one that was begun.
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._known = Repo.init_bare(str(self._folder))
        return self._known

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """A remote's troubles, without its address, which may hold a password; what was fetched is thrown away where it
        is not whole, and is fetched anew by whoever asks next."""
        try:
            yield
        except _TROUBLES as error:
            raise StoreAway(f"Git: {type(error).__name__}") from None
        except _DAMAGES as error:
            self._let_go()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise StoreAway(f"Git: what was fetched is not whole: {type(error).__name__}") from None

    async def changes(self) -> AsyncGenerator[None]:
        known: object = None
        while True:
            if (now := await self._apart(self._refs)) != known:
                known = now
                yield
            await asyncio.sleep(POLLED_EVERY_S)

    def _refs(self) -> Mapping[Ref, ObjectID | None]:
        with self._whole():
            return dict(self._client.get_refs(self._path.encode()).refs)

    async def close(self) -> None:
        await self._apart(self._let_go)

    def _let_go(self) -> None:
        if self._known:
            self._known.close()
            self._known = None


def _blobs(repo: Repo, head: ObjectID | None) -> dict[str, ObjectID]:
    """The documents of a commit, by path."""
    if head is None:
        return {}
    found: dict[str, ObjectID] = {}
    for folder, mode, tree in _root(repo, head).items():
        if mode == _FOLDER:
            for name, kind, blob in _tree(repo, tree).items():
                path = f"{folder.decode('utf-8', 'replace')}/{name.decode('utf-8', 'replace')}"
                if S_ISREG(kind) and is_document(path):
                    found[path] = blob
    return found


def _commit(repo: Repo, head: ObjectID | None, path: str, blob: Blob | None) -> Commit:
    """A commit that puts a blob at a path, or takes away what is there; everything else stays as it is."""
    folder, _, name = path.partition("/")
    root = _root(repo, head) if head else Tree()
    tree = _tree(repo, root[folder.encode()][1]) if folder.encode() in root else Tree()
    if blob:
        tree.add(name.encode(), _FILE, blob.id)
    else:
        del tree[name.encode()]
    root.add(folder.encode(), _FOLDER, tree.id)
    commit = Commit()
    commit.tree, commit.parents = root.id, [head] if head else []
    commit.author = commit.committer = _AUTHOR
    commit.author_time = commit.commit_time = int(time.time())
    commit.author_timezone = commit.commit_timezone = 0
    commit.message = f"{'Change' if blob else 'Remove'} {path}\n".encode()
    for each in (tree, root, commit):
        repo.object_store.add_object(each)
    return commit


def _root(repo: Repo, head: ObjectID) -> Tree:
    commit = repo[head]
    assert isinstance(commit, Commit)
    return _tree(repo, commit.tree)


def _tree(repo: Repo, id: ObjectID) -> Tree:
    tree = repo[id]
    assert isinstance(tree, Tree)
    return tree


def _config() -> StackedConfig:
    """The user's own Git configuration, and an end of waiting."""
    ours = ConfigFile()
    ours.set(b"http", b"timeout", _HTTP_TIMEOUT)
    return StackedConfig([ours, *StackedConfig.default_backends()])
