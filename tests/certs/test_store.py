"""The directory of certificates: who may read what, and when something is made anew."""

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cliproxy.certs.authority import CA_LIFETIME, LEAF_LIFETIME
from cliproxy.certs.store import (
    CA_RENEWED_BEFORE,
    LEAF_RENEWED_BEFORE,
    CertificateStore,
    certificates_dir,
    listener_names,
)

HOST = "api.anthropic.com"


@dataclass
class Clock:
    now: datetime

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime.now(UTC))


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> CertificateStore:
    return CertificateStore(tmp_path / "certs", clock)


def modes(folder: Path) -> Iterator[tuple[str, int]]:
    for path in sorted(folder.glob("*.pem")):
        yield path.name, stat.S_IMODE(path.stat().st_mode)


def test_keys_are_for_their_owner_alone(store: CertificateStore) -> None:
    store.listener(["localhost"])
    assert dict(modes(store.folder)) == {
        "ca.pem": 0o644, "ca-key.pem": 0o600, "listener.pem": 0o644, "listener-key.pem": 0o600
    }  # fmt: skip
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700


def test_a_key_that_others_may_read_is_closed_to_them(store: CertificateStore) -> None:
    made = store.authority([HOST])
    key = store.folder / "ca-key.pem"
    key.chmod(0o644)
    assert store.authority([HOST]).own.certificate == made.own.certificate
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_what_is_there_is_used(store: CertificateStore, clock: Clock) -> None:
    made, shown = store.authority([HOST]), store.listener(["localhost"])
    again = CertificateStore(store.folder, clock)
    assert again.authority([HOST]).own.certificate == made.own.certificate
    assert again.listener(["localhost"]).certificate == shown.certificate


def test_a_ca_that_is_about_to_expire_gives_way_to_a_new_one(store: CertificateStore, clock: Clock) -> None:
    old = store.authority([HOST])
    clock.now += CA_LIFETIME - CA_RENEWED_BEFORE - timedelta(days=1)
    assert store.authority([HOST]).own.certificate == old.own.certificate
    clock.now += timedelta(days=2)
    new = store.authority(["api.openai.com"])
    assert new.own.certificate.public_key() != old.own.certificate.public_key()
    assert new.permits(HOST)


def test_further_hosts_extend_the_ca_and_none_is_ever_taken_away(store: CertificateStore) -> None:
    old = store.authority([HOST])
    new = store.authority(["api.openai.com"])
    assert new.own.certificate.public_key() == old.own.certificate.public_key()
    assert new.permits(HOST)
    assert store.authority([HOST]).own.certificate == new.own.certificate


def test_the_listeners_certificate_follows_its_names_its_age_and_the_ca(store: CertificateStore, clock: Clock) -> None:
    first = store.listener(["localhost"])
    second = store.listener(["localhost", "127.0.0.2"])
    assert (first.names, second.names) == (("localhost",), ("localhost", "127.0.0.2"))
    assert store.listener(["127.0.0.2"]).certificate == second.certificate
    clock.now += LEAF_LIFETIME - LEAF_RENEWED_BEFORE + timedelta(days=1)
    third = store.listener(["localhost"])
    assert third.certificate != second.certificate
    store.renewed_authority([HOST])
    assert store.listener(["localhost"]).certificate != third.certificate


@pytest.mark.parametrize("damage", ["certificate", "key", "another's key", "no ca"])
def test_what_is_damaged_is_made_anew(store: CertificateStore, damage: str) -> None:
    store.listener(["localhost"])
    match damage:
        case "certificate":
            store.ca_path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "ascii")
        case "key":
            (store.folder / "ca-key.pem").unlink()
        case "another's key":
            (store.folder / "ca-key.pem").write_bytes((store.folder / "listener-key.pem").read_bytes())
        case _:
            store.ca_path.write_bytes(store.listener_path.read_bytes())
            (store.folder / "ca-key.pem").write_bytes((store.folder / "listener-key.pem").read_bytes())
    assert store.authority([HOST]).permits(HOST)


def test_several_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as several:
        made = list(several.map(lambda _: CertificateStore(tmp_path / "certs").authority([HOST]), range(8)))
    assert len({authority.own.certificate for authority in made}) == 1


def test_the_listeners_names_are_where_it_listens() -> None:
    assert listener_names("127.0.0.1") == ("localhost", "127.0.0.1", "::1")
    assert listener_names("gw.corp.example") == ("localhost", "127.0.0.1", "::1", "gw.corp.example")
    everywhere = listener_names("")
    assert everywhere[:3] == ("localhost", "127.0.0.1", "::1")
    assert len(everywhere) > 3
    assert not any("%" in name for name in everywhere)


def test_the_directory_is_the_configured_one_or_the_trees_own(tmp_path: Path) -> None:
    assert certificates_dir(str(tmp_path)) == tmp_path
    assert certificates_dir("") == Path(__file__).parents[2] / "certs"
