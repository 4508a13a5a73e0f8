"""cliproxy.secrets: what is left of a secret where people may see it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliproxy.secrets import SECRET_QUERY, mask, mask_header, mask_query

SECRET = "sk-test-0123456789"


def test_a_mask_is_a_prefix_and_a_hash() -> None:
    prefix, _, digest = mask(SECRET).partition("…#")
    assert (prefix, len(digest)) == ("sk-t", 6)
    assert int(digest, 16) >= 0
    assert mask(SECRET) == mask(SECRET) != mask(SECRET + "0")
    assert mask("") == ""


@given(st.text(min_size=1))
@settings(deadline=None)
def test_a_mask_shows_a_quarter_of_a_secret_at_most(secret: str) -> None:
    shown = mask(secret).rpartition("…#")[0]
    assert secret.startswith(shown)
    assert len(shown) <= min(4, len(secret) / 4)


def test_what_is_masked_stays() -> None:
    for masked in (mask(SECRET), mask("abc"), mask("abcd")):
        assert mask(masked) == masked
        assert mask_header(f"Bearer {masked}") == f"Bearer {masked}"
        assert mask_query(f"/v1?a=b&key={masked}&c=d") == f"/v1?a=b&key={masked}&c=d"


def test_bytes_that_are_not_utf8_can_be_masked() -> None:
    assert mask("sk-t\udcff-0123").startswith("sk")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (f"Bearer {SECRET}", f"Bearer {mask(SECRET)}"),
        ("Basic dXNlcjpwdw==", f"Basic {mask('dXNlcjpwdw==')}"),
        (SECRET, mask(SECRET)),
        ("sid=1; token=2", mask("sid=1; token=2")),
        ("", ""),
    ],
)
def test_a_header_keeps_its_scheme(value: str, shown: str) -> None:
    assert mask_header(value) == shown


@pytest.mark.parametrize("name", [*SECRET_QUERY, "KEY", "Api_Key"])
@pytest.mark.parametrize(
    "where",
    ["https://host.test/v1/models?{}", "/v1/models?alt=sse&{}", "{}", "{}&alt=sse", "/v1/models?{}#top"],
)
def test_a_secret_parameter_is_masked_wherever_it_stands(where: str, name: str) -> None:
    assert mask_query(where.format(f"{name}={SECRET}")) == where.format(f"{name}={mask(SECRET)}")


def test_every_secret_parameter_of_a_query_is_masked() -> None:
    assert mask_query(f"key={SECRET}&key=other-secret&auth_token=") == (
        f"key={mask(SECRET)}&key={mask('other-secret')}&auth_token="
    )


def test_a_percent_encoded_name_hides_no_secret() -> None:
    assert SECRET not in mask_query(f"/v1/models?%6Bey={SECRET}")


@pytest.mark.parametrize(
    "url", ["/v1/models", "monkey=1&keys=2&key_=3", "/key=value", "https://host.test/?q=the+key&alt=sse"]
)
def test_everything_else_stays_as_it_is(url: str) -> None:
    assert mask_query(url) == url
