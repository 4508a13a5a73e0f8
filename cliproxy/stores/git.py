"""Documents in a branch of a Git repository: each change is a commit that is pushed.

Nothing is checked out. Commits are made onto what was fetched last; the remote takes one only where nobody else was
faster, and then it is made anew onto what the other one did.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from stat import S_IFDIR, S_IFREG

from dulwich.client import HTTPProxyUnauthorized, HTTPUnauthorized, get_transport_and_path
from dulwich.errors import GitProtocolError, NotGitRepository
from dulwich.file import FileLocked
from dulwich.objects import ZERO_SHA, Blob, Commit, ObjectID, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo
from urllib3.exceptions import HTTPError

from cliproxy.stores.store import Conflict, Document, StoreAway, is_document

POLLED_EVERY_S = 15.0
_TRIES = 10
_AUTHOR = b"cliproxy <cliproxy@localhost>"
_FILE, _FOLDER = S_IFREG | 0o644, S_IFDIR


_TROUBLES = (
    GitProtocolError, NotGitRepository, HTTPUnauthorized, HTTPProxyUnauthorized, HTTPError, OSError, KeyError,
)  # fmt: skip


class _Overtaken(Exception):
    """Someone else has pushed meanwhile."""


class GitStore:
    """See `Store`. Repositories know no locks."""

    def __init__(self, url: str, folder: Path, branch: str = "", username: str = "", token: str = "") -> None:
        """folder: for what was fetched. branch: empty: the repository's own."""
        self._client, self._path = get_transport_and_path(
            url, username=username or ("git" if token else None), password=token or None, quiet=True
        )
        self._folder = folder
        self._branch = f"refs/heads/{branch}".encode() if branch else b""
        self._turn = threading.Lock()
        self._known: Repo | None = None

    async def versions(self) -> Mapping[str, str]:
        return await asyncio.to_thread(self._versions)

    def _versions(self) -> Mapping[str, str]:
        with self._fetched() as (repo, _, head):
            return {path: blob.decode() for path, blob in _blobs(repo, head).items()}

    async def read(self, path: str) -> Document | None:
        return await asyncio.to_thread(self._read, path)

    def _read(self, path: str) -> Document | None:
        with self._fetched() as (repo, _, head):
            blob = _blobs(repo, head).get(path)
            return Document(repo[blob].as_raw_string(), blob.decode()) if blob else None

    async def write(self, path: str, content: bytes, expected: str | None) -> str:
        return await asyncio.to_thread(self._change, path, content, expected)

    async def remove(self, path: str, expected: str) -> None:
        await asyncio.to_thread(self._change, path, None, expected)

    def _change(self, path: str, content: bytes | None, expected: str | None) -> str:
        for _ in range(_TRIES):
            try:
                with self._fetched() as (repo, branch, head):
                    found = _blobs(repo, head).get(path)
                    if (found.decode() if found else None) != expected:
                        raise Conflict(path)
                    blob = None if content is None else Blob.from_string(content)
                    if blob:
                        repo.object_store.add_object(blob)
                    commit = _commit(repo, head, path, blob)
                    self._push(repo, branch, head, commit)
                    return blob.id.decode() if blob else ""
            except _Overtaken:
                continue
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
            raise _Overtaken

    @contextmanager
    def _fetched(self) -> Iterator[tuple[Repo, bytes, ObjectID | None]]:
        """The objects, the branch, and its commit of now; None: there is none yet."""
        with self._turn, _away():
            repo = self._repo()
            branch, head = self._fetch(repo)
            while head is not None and head not in repo:
                # Of a repository on this machine, what was pushed meanwhile is told, though it was not fetched.
                branch, head = self._fetch(repo)
            yield repo, branch, head

    def _fetch(self, repo: Repo) -> tuple[bytes, ObjectID | None]:
        fetched = self._client.fetch(self._path, repo)
        branch = self._branch or fetched.symrefs.get(Ref(b"HEAD")) or b"refs/heads/main"
        return branch, fetched.refs.get(Ref(branch))

    def _repo(self) -> Repo:
        if self._known is None:
            try:
                self._known = Repo(str(self._folder))
            except NotGitRepository:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._known = Repo.init_bare(str(self._folder))
        return self._known

    @asynccontextmanager
    async def lock(self, path: str) -> AsyncIterator[None]:
        yield

    async def changes(self) -> AsyncGenerator[None]:
        known: object = None
        while True:
            if (now := await asyncio.to_thread(self._refs)) != known:
                known = now
                yield
            await asyncio.sleep(POLLED_EVERY_S)

    def _refs(self) -> Mapping[Ref, ObjectID | None]:
        with _away():
            return dict(self._client.get_refs(self._path.encode()).refs)

    async def close(self) -> None:
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
            for name, _, blob in _tree(repo, tree).items():
                path = f"{folder.decode()}/{name.decode('utf-8', 'replace')}"
                if is_document(path):
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


@contextmanager
def _away() -> Iterator[None]:
    """A remote's troubles, without its address, which may hold a password."""
    try:
        yield
    except _TROUBLES as error:
        raise StoreAway(f"Git: {type(error).__name__}") from None
