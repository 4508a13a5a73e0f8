"""Which paths are documents of ours."""

import pytest

from cliproxy.stores.store import is_document


@pytest.mark.parametrize("path", ["config/config.yaml", "auths/a.json", "auths/Me@Example.com.JSON", "auths/ü 1.json"])
def test_the_config_and_what_the_auth_dir_takes_for_accounts(path: str) -> None:
    assert is_document(path)


@pytest.mark.parametrize(
    "path",
    [
        "", "a.json", "config/other.yaml", "auths/", "auths/a.txt", "auths/.a.json", "auths/../a.json", "auths/sub/a.json",
        "auths/..\\a.json", "auths/c:a.json", "auths//etc/a.json", "../auths/a.json", "/auths/a.json", "auths/a\n.json",
        "auths/a\0.json",
    ],
)  # fmt: skip
def test_everything_else_is_nobodys(path: str) -> None:
    assert not is_document(path)
