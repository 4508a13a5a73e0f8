"""cliproxy.stores.git: what its contract with the others does not say."""

from pathlib import Path

import pytest
from dulwich.client import HTTPUnauthorized, Urllib3HttpGitClient
from dulwich.errors import NotGitRepository

from cliproxy.stores.git import GitStore
from cliproxy.stores.store import StoreAway

URL = "https://me:test-password@git.example/x.git"


@pytest.mark.parametrize("refusal", [HTTPUnauthorized("Basic", URL), NotGitRepository(URL)])
async def test_a_refusal_tells_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Exception) -> None:
    def refuse(*_: object) -> None:
        raise refusal

    monkeypatch.setattr(Urllib3HttpGitClient, "fetch", refuse)
    store = GitStore(URL, tmp_path / "clone", token="test-token")
    with pytest.raises(StoreAway) as away:
        await store.versions()
    assert str(away.value) == f"Git: {type(refusal).__name__}"
    await store.close()
