"""Agent keys: made or taken over, checked, and written where only this user or machine can read.

A key is never an argument of a command and never printed; what is printed is its address, which the
owner of the account approves at the venue.
"""

import getpass
import json
import os
import secrets
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from carry.base.secrets import Secret, SecretRefused, address_of, check_agent, resolve

PASSPHRASE_FILE: Final = "CARRY_KEYSTORE_PASSPHRASE_FILE"
PASSPHRASE_CHARS_MIN: Final = 8
CREDENTIAL: Final = "agent_key"  # the name that the systemd unit loads it by
_ENCRYPT_S: Final = 30.0


def made() -> Secret:
    """A new key from the system's randomness."""
    while True:
        key = Secret("0x" + secrets.token_bytes(32).hex())
        try:
            address_of(key)
        except SecretRefused:  # outside of the curve: one in 2^128
            continue
        return key


def taken(file: Path | None) -> Secret:
    """An existing key: from a file that only its owner can read, or typed unseen."""
    if file is not None:
        return resolve("file", str(file))
    if not sys.stdin.isatty():
        raise SecretRefused(
            "no terminal to type the key into: name a file that only you can read with --from, or "
            "start from a terminal. A key is never given as an argument, where others can see it"
        )
    return Secret(getpass.getpass("Agent key (64 hex digits, not shown): ").strip())


def check(key: Secret, account: str | None, role_of: Callable[[str], str | None] | None) -> str:
    """The key's address; `SecretRefused` for a key that can withdraw.

    account: whose agent it shall be, where known. role_of: asks the venue what an address is.
    """
    address = address_of(key) if account is None else check_agent(key, account)
    role = role_of(address) if role_of is not None else None
    if role is not None and role not in ("agent", "missing"):
        raise SecretRefused(
            f"master key: {address} is an account of its own at the venue ({role}), whose key can "
            "withdraw everything. Use `carry key new`, and approve what it prints"
        )
    return address


def ready(path: Path) -> Path:
    """Where a new file may be put: it is not there yet, and nobody else can put another there."""
    path = path.expanduser().absolute()
    folder = path.parent
    if path.exists() or path.is_symlink():
        raise SecretRefused(
            f"{path} is there already and is not overwritten: name another file, or move it away"
        )
    if not folder.is_dir():
        raise SecretRefused(f"{folder} is no folder: make it first (mkdir -m 700 {folder})")
    info = folder.stat()
    mode = stat.S_IMODE(info.st_mode)
    if mode & 0o022:
        raise SecretRefused(
            f"{folder} can be written by others (mode {mode:04o}): they could swap the key. "
            f"chmod go-w {folder}, or use another folder"
        )
    return path


def to_keystore(key: Secret, path: Path) -> None:
    """An encrypted key file (Web3 v3), mode 0600. Asks for a passphrase."""
    path = ready(path)
    phrase = _passphrase(path)
    from eth_account import Account  # 0.3 s: only who uses a keystore pays for it

    document: dict[str, Any] = Account.encrypt(
        bytes.fromhex(key.reveal().removeprefix("0x")), phrase
    )
    _write(path, json.dumps(document).encode())


def to_credential(key: Secret, path: Path) -> None:
    """A credential of systemd, encrypted for this machine alone (TPM or host key)."""
    path = ready(path)
    tool = shutil.which("systemd-creds")
    if tool is None:
        raise SecretRefused(
            "systemd-creds is not on this machine (systemd 250 or newer has it): use --keystore"
        )
    done = subprocess.run(
        [tool, "encrypt", f"--name={CREDENTIAL}", "-", "-"],
        input=key.reveal().encode(),
        capture_output=True,
        timeout=_ENCRYPT_S,
        check=False,
    )
    if done.returncode or not done.stdout:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["nothing"]
        raise SecretRefused(
            f"systemd-creds could not encrypt the key: {said[0]}. It usually needs root"
        )
    _write(path, done.stdout)


def _passphrase(path: Path) -> str:
    where = os.environ.get(PASSPHRASE_FILE)
    if where:
        phrase = resolve("file", where).reveal()
    elif sys.stdin.isatty():
        phrase = getpass.getpass(f"Passphrase for {path}: ")
        if getpass.getpass("Again: ") != phrase:
            raise SecretRefused("the two passphrases differ: nothing was written")
    else:
        raise SecretRefused(
            f"{path} needs a passphrase: start from a terminal, or name an owner-only file in "
            f"{PASSPHRASE_FILE}"
        )
    if len(phrase) < PASSPHRASE_CHARS_MIN:
        raise SecretRefused(
            f"the passphrase has {len(phrase)} characters, {PASSPHRASE_CHARS_MIN} are the least: "
            "nothing was written"
        )
    return phrase


def _write(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def next_steps(address: str, reference: str, network: str | None) -> list[str]:
    """What the owner of the account does with it."""
    at = {"mainnet": "https://app.hyperliquid.xyz/API",
          "testnet": "https://app.hyperliquid-testnet.xyz/API"}  # fmt: skip
    page = f" ({at[network]})" if network in at else ""
    return [
        f"agent address: {address}",
        f"1. Approve it as API wallet of your account at the venue{page}, with a name, so that its "
        "end is shown.",
        f"2. In the config: account: {{address: <your account>, agent_key: {reference}}}",
        "3. `carry doctor` says whether it can trade.",
    ]
