"""No secret leaves (P14): references, refusals, redaction, tracebacks."""

import base64
import json
import logging
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from carry.base.secrets import (
    REDACTED,
    RedactingFilter,
    Redactor,
    Secret,
    SecretRefused,
    address_of,
    check_agent,
    resolve,
)

KEY = "0x" + "c0ffee" * 10 + "1234"
TOKEN = "123456789:" + "A" * 35


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret(KEY)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>99}", str([secret])]
    assert all("c0ffee" not in text and REDACTED in text for text in shown)
    with pytest.raises(TypeError, match=REDACTED):
        pickle.dumps(secret)
    assert secret.reveal() == KEY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    file.chmod(mode)
    with pytest.raises(SecretRefused, match="chmod 600") as refused:
        resolve("file", str(file))
    assert "c0ffee" not in str(refused.value)


def test_files_that_are_no_secret_file(tmp_path: Path) -> None:
    good = tmp_path / "key"
    good.write_text(KEY + "\n")
    good.chmod(0o600)
    assert resolve("file", str(good)).reveal() == KEY
    link = tmp_path / "link"
    link.symlink_to(good)
    for name, why in (
        (link, "symbolic link"),
        (tmp_path, "not a plain file"),
        (tmp_path / "no", "No"),
    ):
        with pytest.raises(SecretRefused, match=why):
            resolve("file", str(name))
    good.write_text("")
    with pytest.raises(SecretRefused, match="empty"):
        resolve("file", str(good))


def test_the_environment_and_systemd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    assert resolve("env", "A_KEY").reveal() == KEY
    monkeypatch.delenv("A_KEY")
    with pytest.raises(SecretRefused, match="A_KEY is not set"):
        resolve("env", "A_KEY")
    with pytest.raises(SecretRefused, match="CREDENTIALS_DIRECTORY"):
        resolve("credential", "agent")
    (tmp_path / "agent").write_text(KEY)
    (tmp_path / "agent").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert resolve("credential", "agent").reveal() == KEY


def test_a_keystore_opens_with_its_passphrase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eth_account import Account

    store, phrase = tmp_path / "keystore.json", tmp_path / "phrase"
    store.write_text(json.dumps(Account.encrypt(KEY, "correct", kdf="pbkdf2", iterations=2)))
    phrase.write_text("correct")
    for file in (store, phrase):
        file.chmod(0o600)
    monkeypatch.setenv("CARRY_KEYSTORE_PASSPHRASE_FILE", str(phrase))
    assert resolve("keystore", str(store)).reveal() == KEY
    phrase.write_text("wrong")
    with pytest.raises(SecretRefused, match="wrong passphrase"):
        resolve("keystore", str(store))


def test_the_account_s_own_key_is_refused() -> None:
    """It could withdraw; only an agent's may be used."""
    key = Secret(KEY)
    with pytest.raises(SecretRefused, match="can withdraw"):
        check_agent(key, address_of(key).upper().replace("0X", "0x"))
    assert check_agent(key, "0x" + "1" * 40) == address_of(key)
    # The first private key of the curve and its well-known address.
    one = Secret("0" * 63 + "1")
    assert address_of(one) == "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"
    for bad in ("zz", "0" * 64):
        with pytest.raises(SecretRefused):
            address_of(Secret(bad))


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        KEY.removeprefix("0x").upper(),
        base64.b64encode(bytes.fromhex(KEY[2:])).decode(),
        str(int(KEY, 16)),
        base64.b64encode(KEY.encode()).decode(),
    ],
)
def test_known_secrets_are_removed_in_every_shape(text: str) -> None:
    assert Redactor([Secret(KEY)])(f"before {text} after") == f"before {REDACTED} after"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"https://api.telegram.org/bot{TOKEN}/x", False),
        (f"https://x/{TOKEN}", False),
        ("private_key=" + "ab" * 32, False),
        ('{"agentKey": "0x' + "ab" * 32 + '"}', False),
        ("secret is " + "ab" * 32, False),
        ("digest " + "ab" * 32, True),  # a hash of a state must stay readable
        ("cloid 0x" + "ab" * 16, True),
    ],
)
def test_what_looks_like_a_secret_is_removed(text: str, shown: bool) -> None:
    found = Redactor()(text)
    assert ("ab" * 16 in found or TOKEN in found) is shown


def test_log_records_are_redacted_with_their_arguments(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.Logger("test")
    logger.addHandler(caplog.handler)
    caplog.handler.addFilter(RedactingFilter(Redactor([Secret(KEY)])))
    logger.error("%s failed", KEY)
    try:
        raise ValueError(KEY)
    except ValueError:
        logger.exception("trouble")
    assert "c0ffee" not in caplog.text
    assert "ValueError" in caplog.text


def test_a_crash_prints_no_secret() -> None:
    """Neither the message of what ends the process or a thread, nor a local variable."""
    code = f"""
import threading
from carry.base.secrets import *
install_hooks(Redactor([Secret({KEY!r})]))
def work(local):
    raise RuntimeError("the key is " + local)
t = threading.Thread(target=work, args=({KEY!r},)); t.start(); t.join()
work({KEY!r})
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 1
    assert done.stderr.count("RuntimeError: the key is <redacted>") == 2
    assert "c0ffee" not in done.stderr + done.stdout
