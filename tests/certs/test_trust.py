"""What users are told to run."""

import shlex
import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from cliproxy.certs.authority import Authority
from cliproxy.certs.trust import ways_of_runtimes, ways_of_systems


def test_every_way_names_the_certificate_as_a_shell_takes_it(tmp_path: Path) -> None:
    ca = tmp_path / "my certs" / "ca.pem"
    for way in (*ways_of_systems(ca), *ways_of_runtimes(ca)[:3]):
        assert str(ca) in way.command
        if way.who != "Firefox":
            assert any(str(ca) in word for word in shlex.split(way.command))


def test_the_file_for_runtimes_that_take_one_file_holds_the_systems_authorities_and_ours(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    authority = Authority.create(["api.anthropic.com"], datetime.now(UTC))
    ca.write_bytes(authority.own.certificate_pem)
    *_, put_together, export = ways_of_runtimes(ca)
    subprocess.run(put_together.command, shell=True, check=True)  # noqa: S602 - it is for a shell
    bundle = tmp_path / "bundle.pem"
    assert str(bundle) in export.command
    trusted = ssl.create_default_context(cafile=bundle).get_ca_certs(binary_form=True)
    assert len(trusted) > 1
