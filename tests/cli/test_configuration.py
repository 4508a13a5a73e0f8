"""The `--config` option."""

from pathlib import Path

import pytest

from cliproxy.cli.configuration import addon, load, shipped_config
from tests.processes import ROOT


def test_the_shipped_config_is_the_default() -> None:
    assert shipped_config() == ROOT / "config.yaml"
    assert addon() == ROOT / "cliproxy_addon.py"
    assert load(None) == load(ROOT / "config.yaml")


def test_a_config_of_ones_own_is_read(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("port: 1234\n", "utf-8")
    assert load(tmp_path / "own.yaml").port == 1234


def test_a_wrong_config_ends_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        load(tmp_path / "missing.yaml")
    assert ended.value.code == 1
    assert "missing.yaml: cannot be read" in capsys.readouterr().err
