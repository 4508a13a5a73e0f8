"""cliproxy.providers.kiro.account: kinds of logins, regions and profiles, in either spelling."""

from typing import Any

import pytest

from cliproxy.providers.kiro.account import (
    is_builder_id,
    is_cli,
    is_external,
    is_social,
    login_region,
    profile_arn,
    runtime_region,
    text,
)

ARN = "arn:aws:codewhisperer:eu-central-1:000000000000:profile/TEST"


def test_both_spellings_are_read() -> None:
    assert text({"profile_arn": ARN}, "profile_arn") == text({"profileArn": f" {ARN} "}, "profile_arn") == ARN
    assert text({"profile_arn": None}, "profile_arn") == text({"region": 7}, "region") == ""


@pytest.mark.parametrize(
    ("fields", "social", "external", "builder_id"),
    [
        ({"auth_method": "social", "provider": "Google"}, True, False, False),
        ({"authMethod": "social", "clientId": "test-client"}, True, False, False),
        ({"provider": "Github", "client_id": "test-client"}, True, False, False),
        ({}, True, False, False),
        ({"client_id": "test-client"}, False, False, False),
        ({"authMethod": "IdC", "provider": "BuilderId"}, False, False, True),
        ({"auth_method": "builder-id", "provider": "AWS"}, False, False, True),
        ({"auth_method": "idc", "start_url": "https://view.awsapps.com/start/"}, False, False, True),
        ({"auth_method": "idc", "start_url": "https://example.awsapps.com/start"}, False, False, False),
        ({"auth_method": "external_idp"}, False, True, False),
    ],
)
def test_kinds_of_logins(fields: dict[str, Any], social: bool, external: bool, builder_id: bool) -> None:
    assert (is_social(fields), is_external(fields), is_builder_id(fields)) == (social, external, builder_id)


@pytest.mark.parametrize(
    ("fields", "login", "runtime"),
    [
        ({}, "us-east-1", "us-east-1"),
        ({"region": "eu-central-1"}, "eu-central-1", "eu-central-1"),
        ({"region": "ap-southeast-2"}, "ap-southeast-2", "us-east-1"),
        ({"region": "us-east-1", "profile_arn": ARN}, "us-east-1", "eu-central-1"),
        ({"region": "eu-west-1", "api_region": "us-gov-west-1"}, "eu-west-1", "us-gov-west-1"),
        ({"region": "evil.example/#", "profile_arn": "arn:aws:codewhisperer:a.b/"}, "us-east-1", "us-east-1"),
        ({"profile_arn": "none"}, "us-east-1", "us-east-1"),
    ],
)
def test_regions(fields: dict[str, Any], login: str, runtime: str) -> None:
    assert (login_region(fields), runtime_region(fields)) == (login, runtime)


def test_that_there_is_no_profile_is_no_profile() -> None:
    assert profile_arn({"profile_arn": "none"}) == profile_arn({}) == ""
    assert profile_arn({"profile_arn": ARN}) == ARN


@pytest.mark.parametrize(("said", "cli"), [("cli", True), ("CLI", True), ("ide", False), ("", False), (None, False)])
def test_the_preferred_endpoint(said: str | None, cli: bool) -> None:
    assert is_cli({"preferred_endpoint": said}) is cli
