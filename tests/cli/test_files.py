"""generate-config, generate-signing-key and check-config, and the messages about files that cannot be used."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from homeserver.cli import main
from homeserver.config import load_settings, load_signing_keys
from homeserver.tls import certificate_store

from .command import fails, generate, run


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_generated_files_can_be_used_and_are_private(tmp_path: Path) -> None:
    config = generate(tmp_path / "new")
    key = tmp_path / "new/a.example.signing.key"
    for path in (config, key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loaded = load_settings(config)
    assert (loaded.warnings, loaded.notes) == ((), ())
    assert len(loaded.settings.registration.registration_shared_secret or "") > 30
    (signing_key,) = load_signing_keys(key)
    assert signing_key.alg == "ed25519"

    done = run("check-config", "-c", config)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "can be used" in done.stdout
    assert f"ed25519:{signing_key.version}" in done.stdout


def test_two_servers_have_different_secrets(tmp_path: Path) -> None:
    first, second = (yaml.safe_load(generate(tmp_path / name).read_text()) for name in ("one", "two"))
    assert first["registration_shared_secret"] != second["registration_shared_secret"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    config = generate(tmp_path)
    key = tmp_path / "a.example.signing.key"
    before = config.read_text(), key.read_text()
    message = fails("-c", config, "generate-config", "--server-name", "a.example")
    assert "is there already and is not overwritten" in message
    assert "is not overwritten" in fails("-c", config, "generate-signing-key")
    assert (config.read_text(), key.read_text()) == before

    # A key that is there already goes on being used with a new configuration.
    config.unlink()
    assert "Kept: " in run("-c", config, "generate-config", "--server-name", "a.example").stdout
    assert key.read_text() == before[1]


def test_generate_config_takes_paths_from_where_the_person_stands(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    arguments = (
        "-c ../there/hs.yaml generate-config --server-name a.example --data-directory d --signing-key-path k"
    )
    done = run(*arguments.split(), cwd=tmp_path / "here")
    assert done.returncode == 0, done
    settings = load_settings(tmp_path / "there/hs.yaml").settings
    assert settings.server.data_directory == tmp_path / "here/d"
    assert settings.keys.signing_key_path == tmp_path / "here/k"
    assert (tmp_path / "here/k").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--server-name is missing"),
        (["--server-name", "https://a.example"], '--server-name: found "https://a.example", but allowed is'),
        (["--server-name", "a.example", "--tls-certificate-path", "x"], "belong together: give both or none"),
    ],
)
def test_generate_config_with_wrong_arguments(tmp_path: Path, arguments: list[str], expected: str) -> None:
    assert expected in fails("-c", tmp_path / "hs.yaml", "generate-config", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_generate_signing_key(tmp_path: Path) -> None:
    config = tmp_path / "homeserver.yaml"
    config.write_text("server_name: a.example\nsigning_key_path: keys/mine.key\n")
    assert run("-c", config, "generate-signing-key").returncode == 0
    assert len(load_signing_keys(tmp_path / "keys/mine.key")) == 1


def test_check_config_shows_warnings_and_notes(tmp_path: Path) -> None:
    config = generate(tmp_path)
    append(config, "max_uplod_size: 5M\nreport_stats: true\n")
    done = run("-c", config, "check-config")
    assert done.returncode == 0
    assert 'Warning: max_uplod_size: this key is not known. Did you mean "max_upload_size"?' in done.stdout
    assert (
        "Note:    these settings of a Synapse configuration are not used by this server: report_stats"
        in done.stdout
    )


def _own_certificate(directory: Path, name: str) -> tuple[Path, Path]:
    settings = load_settings(generate(directory, name)).settings
    store = certificate_store(settings)
    return store.certificate_path, store.private_key_path


def _missing_key(config: Path) -> None:
    (config.parent / "a.example.signing.key").unlink()


def _broken_key(config: Path) -> None:
    (config.parent / "a.example.signing.key").write_text("ed25519 a_b not*base64*\n")


def _empty_key(config: Path) -> None:
    (config.parent / "a.example.signing.key").write_text("")


def _key_is_directory(config: Path) -> None:
    append(config, "")
    _missing_key(config)
    (config.parent / "a.example.signing.key").mkdir()


def _missing_certificate(config: Path) -> None:
    append(config, "tls_certificate_path: none.pem\ntls_private_key_path: none.key\n")


def _not_a_certificate(config: Path) -> None:
    (config.parent / "some.pem").write_text("hello")
    append(config, "tls_certificate_path: some.pem\ntls_private_key_path: some.pem\n")


def _key_of_another_certificate(config: Path) -> None:
    certificate, _ = _own_certificate(config.parent / "one", "one.example")
    _, key = _own_certificate(config.parent / "two", "two.example")
    append(config, f"tls_certificate_path: {certificate}\ntls_private_key_path: {key}\n")


def _encrypted_key(config: Path) -> None:
    certificate, key = _own_certificate(config.parent / "one", "one.example")
    encrypted = config.parent / "encrypted.key"
    command = ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", encrypted]
    subprocess.run(command, check=True, capture_output=True)
    append(config, f"tls_certificate_path: {certificate}\ntls_private_key_path: {encrypted}\n")


def _data_directory_in_a_file(config: Path) -> None:
    (config.parent / "data").write_text("in the way")


def _wrong_value(config: Path) -> None:
    append(config, "log_level: LOUD\n")


PROBLEMS: list[tuple[Callable[[Path], None], list[str]]] = [
    (_missing_key, ["signing key", "there is no such file", "generate-signing-key"]),
    (_broken_key, ["signing key", 'a line is not of the form "ed25519 NAME BASE64"']),
    (_empty_key, ["signing key", "the file is empty"]),
    (_key_is_directory, ["signing key", "cannot be read (Is a directory)"]),
    (_missing_certificate, ["tls_certificate_path", "none.pem cannot be read", "check the path"]),
    (_not_a_certificate, ["tls_certificate_path", "fullchain.pem and privkey.pem"]),
    (_key_of_another_certificate, ["tls_private_key_path", "is not the key of the certificate"]),
    (_encrypted_key, ["tls_private_key_path", "is encrypted; give a key without a password"]),
    (_data_directory_in_a_file, ["data_directory", "chown", "change the path in homeserver.yaml"]),
    (_wrong_value, ['log_level: found the text "LOUD"']),
]


@pytest.mark.parametrize(("spoil", "expected"), PROBLEMS, ids=[each[0].__name__ for each in PROBLEMS])
def test_check_config_tells_what_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None], expected: list[str]
) -> None:
    config = generate(tmp_path)
    spoil(config)
    assert main(["-c", str(config), "check-config"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("homeserver: ")
    for part in expected:
        assert part in shown


@pytest.mark.parametrize("command", [[], ["check-config"], ["register-user", "alice", "--password", "x"]])
def test_a_missing_configuration(tmp_path: Path, command: list[str]) -> None:
    message = fails(*command, "-c", tmp_path / "none.yaml")
    assert "there is no such file" in message
    assert "generate-config" in message


def test_the_configuration_is_homeserver_yaml_of_this_directory_by_default(tmp_path: Path) -> None:
    assert "homeserver.yaml cannot be used" in fails("check-config", cwd=tmp_path)
    generate(tmp_path)
    assert run("check-config", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    "text", ["version: 1\nhandlers: {a: {class: no.such.Class}}", "- a list", "version: [1"]
)
def test_serving_with_a_broken_log_config(tmp_path: Path, text: str) -> None:
    config = generate(tmp_path)
    (tmp_path / "log.yaml").write_text(text)
    append(config, "log_config: log.yaml\n")
    assert "log_config" in fails("-c", config)


# Root may write everywhere, so it gives up its rights, after the imports: its Python may be out of reach then.
AS_NOBODY = """
import os, sys
from homeserver.cli import main
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


def test_a_directory_that_may_not_be_written(tmp_path: Path) -> None:
    config = generate(tmp_path)
    (tmp_path / "data").mkdir(mode=0o555)
    if os.geteuid() == 0:
        for path in (config, tmp_path / "a.example.signing.key"):
            os.chown(path, 65534, 65534)
        # pytest makes its directories for their owner only, and one more for each of its workers.
        below_tmp = len(Path(tempfile.gettempdir()).parts)
        for parent in (tmp_path, *tmp_path.parents):
            if len(parent.parts) > below_tmp:
                parent.chmod(0o755)
    command = [sys.executable, "-c", AS_NOBODY, "-c", str(config), "check-config"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done
    assert "data_directory: the directory" in done.stderr
    assert "cannot be written. Give it to the user that runs the server" in done.stderr
    assert "Traceback" not in done.stderr
