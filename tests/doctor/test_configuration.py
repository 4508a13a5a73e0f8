"""The config file."""

from pathlib import Path

from cliproxy.doctor.configuration import configuration


def put(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def test_a_valid_file_is_read(tmp_path: Path) -> None:
    path = put(tmp_path, "port: 9000\n", 0o644)
    config, findings = configuration(path)
    assert config
    assert config.port == 9000
    assert [(finding.level, finding.text) for finding in findings] == [("ok", f"{path} is valid")]


def test_each_fault_names_its_line(tmp_path: Path) -> None:
    path = put(tmp_path, "port: many\nhost: [1]\n")
    config, findings = configuration(path)
    assert config is None
    assert [finding.level for finding in findings] == ["error", "error"]
    assert findings[0].text.startswith(f"{path}:1:")
    assert findings[1].text.startswith(f"{path}:2:")


def test_what_loading_warns_of_is_told(tmp_path: Path) -> None:
    path = put(tmp_path, "\nporth: 1\n")
    _, findings = configuration(path)
    (warning,) = [finding for finding in findings if finding.level == "warning"]
    assert warning.text.startswith(f"{path}:2:1: porth: unknown key")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    _, (finding,) = configuration(tmp_path / "none.yaml")
    assert finding.level == "error"
    assert "cannot be read" in finding.text


def test_keys_that_others_can_read_are_a_warning(tmp_path: Path) -> None:
    text = "api-keys: [sk-test-1]\n"
    assert [finding.level for finding in configuration(put(tmp_path, text))[1]] == ["ok"]
    path = put(tmp_path, text, 0o644)
    warning = configuration(path)[1][-1]
    assert (warning.level, warning.mend) == ("warning", f"chmod 600 {path}")
    assert "sk-test-1" not in warning.text
