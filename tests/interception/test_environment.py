"""A tool's environment: where its calls go, and whom it trusts."""

from pathlib import Path

import pytest

from cliproxy.interception.environment import ADDING, REPLACING, environment_for, system_bundle

PROXY = "http://cliproxy:test-word@127.0.0.1:8080"
OURS = b"-----BEGIN CERTIFICATE-----\nours\n-----END CERTIFICATE-----\n"


def test_calls_go_through_the_proxy_but_for_those_to_this_machine(tmp_path: Path) -> None:
    inherited = {"PATH": "/bin", "https_proxy": "http://old.example", "NO_PROXY": "corp.example, localhost", "ALL_PROXY": "socks5://old.example"}  # fmt: skip
    environment = environment_for(inherited, PROXY, OURS, tmp_path)
    assert {environment[name] for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")} == {PROXY}
    assert environment["NO_PROXY"] == environment["no_proxy"] == "corp.example,localhost,127.0.0.1,::1"
    assert environment["NODE_USE_ENV_PROXY"] == "1"
    assert environment["PATH"] == "/bin"
    assert "ALL_PROXY" not in environment
    assert "old.example" not in "".join(environment.values())


@pytest.mark.parametrize("name", ADDING)
def test_what_adds_to_a_runtimes_authorities_holds_ours_and_those_that_were_added_before(
    tmp_path: Path, name: str
) -> None:
    assert Path(environment_for({}, PROXY, OURS, tmp_path)[name]).read_bytes() == OURS
    before = tmp_path / "corp.pem"
    before.write_bytes(b"corp's")
    with_before = environment_for({name: str(before)}, PROXY, OURS, tmp_path)
    assert Path(with_before[name]).read_bytes() == b"corp's\n" + OURS


@pytest.mark.parametrize("name", REPLACING)
def test_what_replaces_them_holds_all_of_them(tmp_path: Path, name: str) -> None:
    systems = Path(system_bundle()).read_bytes()
    assert b"BEGIN CERTIFICATE" in systems
    assert Path(environment_for({}, PROXY, OURS, tmp_path)[name]).read_bytes() == systems.rstrip() + b"\n" + OURS
    before = tmp_path / "corp.pem"
    before.write_bytes(b"corp's")
    with_before = environment_for({name: str(before)}, PROXY, OURS, tmp_path)
    assert Path(with_before[name]).read_bytes() == b"corp's\n" + OURS


def test_a_file_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    environment = environment_for({"SSL_CERT_FILE": str(tmp_path / "missing.pem")}, PROXY, OURS, tmp_path)
    assert Path(environment["SSL_CERT_FILE"]).read_bytes() == OURS
