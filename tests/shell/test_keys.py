"""Keys: encrypted at rest, refused where they are unsafe, and never shown."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from carry.base.secrets import Secret, SecretRefused, address_of, resolve
from carry.shell import keys

ROOT = Path(__file__).resolve().parents[2]
KEY = "0x0123456789012345678901234567890123456789012345678901234567890123"  # a published test key
ADDRESS = "0x14791697260e4c9a71f18484c9f997b308e59325"
PHRASE = "correct horse battery"


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture(autouse=True)
def phrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tmp_path.chmod(0o700)
    file = private(tmp_path / "phrase", PHRASE)
    monkeypatch.setenv(keys.PASSPHRASE_FILE, str(file))
    return file


def carry(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "carry", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_a_new_key_is_kept_encrypted_and_can_be_read_again(tmp_path: Path) -> None:
    done = carry(tmp_path, "key", "new", "--keystore", "agent.json")
    assert done.returncode == 0, done.stderr
    file = tmp_path / "agent.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    document = json.loads(file.read_text())
    assert document["version"] == 3
    key = resolve("keystore", str(file))
    assert address_of(key) in done.stdout
    assert key.reveal().removeprefix("0x") not in done.stdout + done.stderr + file.read_text()
    again = carry(tmp_path, "key", "new", "--keystore", "agent.json")
    assert (again.returncode, "not overwritten" in again.stderr) == (3, True)
    assert json.loads(file.read_text()) == document


def test_an_existing_key_is_taken_over(tmp_path: Path) -> None:
    source = private(tmp_path / "plain", KEY)
    done = carry(tmp_path, "key", "import", "--from", str(source), "--keystore", "agent.json")
    assert done.returncode == 0, done.stderr
    assert f"agent address: {ADDRESS}" in done.stdout
    assert KEY[2:] not in done.stdout + done.stderr
    assert resolve("keystore", str(tmp_path / "agent.json")) == Secret(KEY)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    source = private(tmp_path / "plain", KEY)
    source.chmod(mode)
    done = carry(tmp_path, "key", "import", "--from", str(source))
    assert (done.returncode, "chmod 600" in done.stderr) == (3, True)
    assert not (tmp_path / "agent.keystore.json").exists()


def test_the_master_s_key_is_refused_by_the_config(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "venue: {name: hyperliquid, network: testnet, base_url: 'http://127.0.0.1:9'}\n"
        f"account: {{address: '{ADDRESS}'}}\nmarkets: [{{base: HYPE}}]\n"
    )
    source = private(tmp_path / "plain", KEY)
    done = carry(tmp_path, "key", "import", "--from", str(source), "--offline")
    assert (done.returncode, "which can withdraw" in done.stderr) == (3, True)
    assert not (tmp_path / "agent.keystore.json").exists()


def test_the_master_s_key_is_refused_by_the_venue() -> None:
    for role in ("user", "subAccount", "vault"):
        with pytest.raises(SecretRefused, match="master key"):
            keys.check(Secret(KEY), None, lambda address, role=role: role)
    for role in ("agent", "missing"):
        found = keys.check(Secret(KEY), None, lambda address, role=role: role)
        assert found == ADDRESS


def test_a_venue_that_does_not_answer_is_no_consent(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "venue: {name: hyperliquid, network: testnet, base_url: 'http://127.0.0.1:9'}\n"
        f"account: {{address: '0x{'ab' * 20}'}}\nmarkets: [{{base: HYPE}}]\n"
    )
    source = private(tmp_path / "plain", KEY)
    done = carry(tmp_path, "key", "import", "--from", str(source))
    assert (done.returncode, "role: transport" in done.stderr) == (1, True)
    assert not (tmp_path / "agent.keystore.json").exists()
    assert carry(tmp_path, "key", "import", "--from", str(source), "--offline").returncode == 0


def test_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(SecretRefused, match="can be written by others"):
        keys.to_keystore(Secret(KEY), tmp_path / "open" / "key")


def test_a_short_passphrase_is_refused(tmp_path: Path, phrase: Path) -> None:
    private(phrase, "short")
    with pytest.raises(SecretRefused, match="5 characters, 8 are the least"):
        keys.to_keystore(Secret(KEY), tmp_path / "key")
    assert not (tmp_path / "key").exists()


def test_without_a_terminal_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(keys.PASSPHRASE_FILE)
    for words in (("key", "new"), ("key", "import")):
        done = carry(tmp_path, *words)
        assert (done.returncode, "terminal" in done.stderr) == (3, True)


def test_a_credential_goes_through_systemd_by_its_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tool is found on PATH; the key is written to its input, never among its arguments."""
    tools = tmp_path / "tools"
    tools.mkdir()
    tool = tools / "systemd-creds"
    tool.write_text('#!/bin/sh\necho "$@" > "$0.args"\ntr 0-9a-f x\n')
    tool.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    keys.to_credential(Secret(KEY), tmp_path / "key.cred")
    assert (tools / "systemd-creds.args").read_text().strip() == "encrypt --name=agent_key - -"
    assert (tmp_path / "key.cred").read_text() == "x" * 66
    assert stat.S_IMODE((tmp_path / "key.cred").stat().st_mode) == 0o600
    tool.write_text("#!/bin/sh\necho not allowed >&2\nexit 1\n")
    with pytest.raises(SecretRefused, match="not allowed"):
        keys.to_credential(Secret(KEY), tmp_path / "other.cred")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SecretRefused, match="not on this machine"):
        keys.to_credential(Secret(KEY), tmp_path / "third.cred")
