"""A PostgreSQL of our own: an unprivileged user, a temporary folder, a socket in it, no network."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

PASSWORD = "canary-7f31c0ffee-password"
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "32MB",
    "max_connections": "30",
    "autovacuum": "off",
    "jit": "off",
}


def folder_of_programs() -> Path | None:
    """Where `initdb` and `postgres` are, the newest version first; None where there are none."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        key=lambda path: int(path.parts[-3]) if path.parts[-3].isdigit() else 0,
    )
    if found:
        return found[-1].parent
    named = shutil.which("postgres")
    return Path(named).resolve().parent if named and shutil.which("initdb") else None


class Server:
    """One server. `stop`, `kill`, `freeze` and `start` do what their names say."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # Not in pytest's folder, which only its own user may enter.
        self.folder = Path(tempfile.mkdtemp(prefix="carry-pg-"))
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            self._user = {"user": 65534, "group": 65534, "extra_groups": []}
            os.chown(self.folder, 65534, 65534)
        self._process: subprocess.Popen[bytes] | None = None
        words = ["--no-sync", "--auth=trust", "--username=carry", "--encoding=UTF8", "--locale=C"]
        done = subprocess.run(
            [self._programs / "initdb", *words, "-D", self.folder / "data"],
            capture_output=True,
            text=True,
            timeout=60,
            cwd="/",
            check=False,
            env={"PATH": os.environ["PATH"]},
            **self._user,
        )
        assert done.returncode == 0, done.stderr
        self.start()

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://carry:{PASSWORD}@/{database}?host={self.folder}"

    def connect(self, database: str = "postgres") -> Any:
        import psycopg

        return psycopg.connect(self.dsn(database), autocommit=True, connect_timeout=10)

    def start(self) -> None:
        assert self._process is None
        settings = [word for k, v in SETTINGS.items() for word in ("-c", f"{k}={v}")]
        command = [self._programs / "postgres", "-D", self.folder / "data", "-k", self.folder]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *settings],
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": os.environ["PATH"]},
                **self._user,
            )
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(Exception):
                self.connect().close()
                return
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT is its own fast way, SIGQUIT a crash of all its processes."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(timeout=30)

    def freeze(self, backend: int, frozen: bool) -> None:
        """Stop one of its processes in mid-air, or let it go on."""
        os.kill(backend, signal.SIGSTOP if frozen else signal.SIGCONT)

    def close(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)
