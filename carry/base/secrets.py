"""Secrets by reference, and nothing of them in a log, a traceback or a crash (P14).

A config names where a secret is, never the secret: `{env: NAME}`, `{file: PATH}`,
`{keystore: PATH}` (its passphrase from the terminal or CARRY_KEYSTORE_PASSPHRASE_FILE) or
`{credential: NAME}` (systemd's).
"""

import base64
import getpass
import logging
import os
import re
import stat
import sys
import threading
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn

KINDS: Final = ("env", "file", "keystore", "credential")
REDACTED: Final = "<redacted>"
SECRET_BYTES_MAX: Final = 65_536


class SecretRefused(Exception):
    """A secret cannot be had, or not safely. The text says what to do, never the secret."""


class Secret:
    """A value that shows itself only to `reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return REDACTED

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return REDACTED

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is never pickled: <redacted>")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(REDACTED)


def resolve(kind: str, name: str) -> Secret:
    """The secret that a reference names."""
    if kind == "env":
        value = os.environ.get(name, "").strip()
        if not value:
            raise SecretRefused(f"environment variable {name} is not set; export it, start again")
        return Secret(value)
    if kind == "file":
        return Secret(_read_private(Path(name).expanduser()))
    if kind == "credential":
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise SecretRefused(
                f"credential {name}: CREDENTIALS_DIRECTORY is not set; it is given by systemd's "
                "LoadCredential, so start the bot by its unit or use {file: ...}"
            )
        return Secret(_read_private(Path(folder) / name, systemd=True))
    if kind == "keystore":
        return _from_keystore(Path(name).expanduser())
    raise SecretRefused(f"a secret is referred to by one of {', '.join(KINDS)}, not {kind}")


def _read_private(path: Path, systemd: bool = False) -> str:
    """Text of a file that is ours alone: owner-only, a plain file, not a link."""
    try:
        found = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise SecretRefused(f"{path} is a symbolic link: name the file itself") from None
        raise SecretRefused(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise SecretRefused(f"{path} is not a plain file")
    with os.fdopen(found, "rb") as file:
        info = os.fstat(file.fileno())
        # systemd hands credentials out read-only, owned by root or the unit's user.
        if not systemd and info.st_uid != os.geteuid():
            raise SecretRefused(f"{path} belongs to user {info.st_uid}, not to you: chown it")
        if not systemd and stat.S_IMODE(info.st_mode) & 0o077:
            mode = stat.S_IMODE(info.st_mode)
            raise SecretRefused(f"{path} is open to others (mode {mode:04o}): chmod 600 {path}")
        content = file.read(SECRET_BYTES_MAX + 1)
    if len(content) > SECRET_BYTES_MAX:
        raise SecretRefused(f"{path} is larger than {SECRET_BYTES_MAX} bytes: this is no secret")
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise SecretRefused(f"{path} is not text") from None
    if not text:
        raise SecretRefused(f"{path} is empty")
    return text


def _from_keystore(path: Path) -> Secret:
    text = _read_private(path)
    from eth_account import Account  # 0.3 s: only who uses a keystore pays for it

    where = os.environ.get("CARRY_KEYSTORE_PASSPHRASE_FILE")
    if where:
        passphrase = _read_private(Path(where))
    elif sys.stdin.isatty():
        passphrase = getpass.getpass(f"Passphrase of {path}: ")
    else:
        raise SecretRefused(
            f"{path} needs its passphrase: start from a terminal, or name an owner-only file in "
            "CARRY_KEYSTORE_PASSPHRASE_FILE"
        )
    try:
        return Secret("0x" + bytes(Account.decrypt(text, passphrase)).hex())
    except Exception as error:
        # The library's own message may quote the file; only the kind of failure is passed on.
        kind = type(error).__name__
        raise SecretRefused(f"{path}: wrong passphrase, or no Web3 keystore ({kind})") from None


def address_of(key: Secret) -> str:
    """The lower-case 0x address of a private key in hex."""
    import coincurve
    from Crypto.Hash import keccak

    text = key.reveal().removeprefix("0x")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise SecretRefused(f"the agent key has {len(text)} characters; 64 hex digits are meant")
    try:
        public = coincurve.PrivateKey(bytes.fromhex(text)).public_key.format(compressed=False)
    except ValueError:
        raise SecretRefused("the agent key is no valid secp256k1 key") from None
    return "0x" + keccak.new(digest_bits=256, data=public[1:]).hexdigest()[-40:]


def check_agent(key: Secret, account: str) -> str:
    """The agent's address; refused when it is the account's own, since that key can withdraw."""
    address = address_of(key)
    if address == account.lower():
        raise SecretRefused(
            f"the agent key is the key of the account {account} itself, which can withdraw "
            "everything: make an agent (API wallet) at the venue, and use its key"
        )
    return address


# --- the second net: text that leaves the process -----------------------------------------------

_TELEGRAM_TOKEN = re.compile(r"(?<!\d)\d{6,}:[\w-]{35}(?![\w-])")
_KEY_NEAR_WORD = re.compile(
    r"(?i)((?:key|secret|private|mnemonic|passphrase|password|seed|token|priv)\w*"
    r"[\"'\]\)]*\s*(?:is|=|:|,)?\s*[\"'\(\[b]*)(?:0x)?[0-9a-f]{64}\b"
)


class Redactor:
    """Removes known secrets and what looks like one from a text."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._needles: list[str] = []
        for secret in secrets:
            self.add(secret)

    def add(self, secret: Secret) -> None:
        value = secret.reveal()
        shapes = {value, base64.b64encode(value.encode()).decode()}
        bare = value.removeprefix("0x")
        if re.fullmatch(r"[0-9a-fA-F]{8,}", bare) and len(bare) % 2 == 0:
            raw = bytes.fromhex(bare)
            shapes |= {bare, bare.lower(), bare.upper(), str(int(bare, 16))}
            shapes |= {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
        # Longest first, so that "0x" + key goes as a whole. Very short ones would redact all text.
        found = {s for s in shapes if len(s) >= 6} | set(self._needles)
        self._needles = sorted(found, key=lambda s: (-len(s), s))

    def __call__(self, text: str) -> str:
        for needle in self._needles:
            text = text.replace(needle, REDACTED)
        text = _TELEGRAM_TOKEN.sub(REDACTED, text)
        return _KEY_NEAR_WORD.sub(lambda m: m.group(1) + REDACTED, text)


class RedactingFilter(logging.Filter):
    """Renders a record and redacts it, whatever handler it goes to."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = self._redact(record.getMessage())
        record.args = None
        if record.exc_info and record.exc_info[1] is not None:
            record.msg += "\n" + self._redact(traceback_text(record.exc_info[1]))
            record.exc_info, record.exc_text = None, None
        return True


def traceback_text(error: BaseException) -> str:
    """Where and what, without the values of local variables."""
    lines = traceback.TracebackException.from_exception(error, capture_locals=False).format()
    return "".join(lines)


def install_hooks(redact: Redactor) -> None:
    """What ends the process or a thread unexpectedly is printed redacted, without locals."""
    logging.raiseExceptions = False

    def on_crash(
        kind: type[BaseException], error: BaseException, where: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("interrupted", file=sys.stderr)
            return
        print(redact(traceback_text(error)), end="", file=sys.stderr)

    def on_thread_crash(args: Any) -> None:
        if args.exc_value is not None:
            print(redact(traceback_text(args.exc_value)), end="", file=sys.stderr)

    sys.excepthook = on_crash
    threading.excepthook = on_thread_crash
