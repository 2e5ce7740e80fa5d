"""The embedded exchange of a run folder: found if it runs, started as a process of its own if not.

It is another program behind HTTP and a websocket, like a real venue; only its keys are known to
all, since they guard play money. Nothing here reads what it holds.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import attrs

from carry.base.secrets import Secret, address_of

from .wiring import VenueWiring

# Play money: these phrases are public on purpose, and so are the keys hashed from them.
ACCOUNT_PHRASE: Final = "carry play money: the account of the embedded exchange"
AGENT_PHRASE: Final = "carry play money: the agent of the embedded exchange"
START_S_MAX: Final = 60.0
NAME: Final = "exchange.json"


class ExchangeFailed(Exception):
    """The embedded exchange did not start or does not answer."""


@attrs.frozen
class Running:
    """Where an embedded exchange listens. `started`: by us, just now."""

    url: str
    ws_url: str
    pid: int
    started: bool


def play_agent() -> Secret:
    return Secret(hashlib.sha256(AGENT_PHRASE.encode()).hexdigest())


def play_account() -> str:
    return address_of(Secret(hashlib.sha256(ACCOUNT_PHRASE.encode()).hexdigest()))


def find_or_start(folder: Path, venue: VenueWiring, state_file: Path) -> Running:
    """The exchange of the run folder `folder`, which remembers its accounts in `state_file`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    running = find(folder)
    return running if running is not None else _start(folder, venue, state_file)


def find(folder: Path) -> Running | None:
    """The exchange that the folder names, if that process still is one."""
    try:
        facts = json.loads((folder / NAME).read_text())
        running = Running(facts["url"], facts["ws_url"], int(facts["pid"]), False)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return running if _is_exchange(running.pid) else None


def _is_exchange(pid: int) -> bool:
    """Whether the process is `carry exchange`: a number alone may have been given to another."""
    try:
        os.kill(pid, 0)
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except FileNotFoundError:
        return True  # No /proc on this system: the number must do.
    except OSError:
        return False
    return b"exchange" in words


def _start(folder: Path, venue: VenueWiring, state_file: Path) -> Running:
    account, agent = play_account(), address_of(play_agent())
    said, wrong = folder / "exchange.out", folder / "exchange.err"
    command = [sys.executable, "-m", "carry", "exchange", "--clock", "lockstep", "--port", "0"]
    command += ["--speed", str(venue.speed), "--seed", str(venue.seed)]
    command += ["--mode", venue.mode, "--market", venue.market, "--state", str(state_file)]
    command += ["--fund", f"{account}={venue.funds_usd}", "--agent", f"{agent}={account}"]
    with said.open("wb") as out, wrong.open("wb") as err:
        # A session of its own: closing the terminal or stopping the bot leaves it running.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
    facts = _first_line(process, said, wrong)
    running = Running(facts["url"], facts["ws_url"], process.pid, True)
    _replace(folder / "exchange.pid", f"{process.pid}\n")
    _replace(
        folder / NAME,
        json.dumps({"url": running.url, "ws_url": running.ws_url, "pid": running.pid}) + "\n",
    )
    return running


def _first_line(process: "subprocess.Popen[bytes]", said: Path, wrong: Path) -> dict[str, Any]:
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline:
        line, end, _ = said.read_text().partition("\n")
        if end:
            facts: dict[str, Any] = json.loads(line)
            return facts
        if process.poll() is not None:
            reason = wrong.read_text().strip().splitlines()[-1:] or ["it said nothing"]
            raise ExchangeFailed(
                f"the embedded exchange ended with code {process.returncode}: {reason[0]} "
                f"(all of it in {wrong})"
            )
        time.sleep(0.02)
    process.terminate()
    raise ExchangeFailed(f"the embedded exchange said nothing for {START_S_MAX:.0f} s; see {wrong}")


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(path.suffix + ".new")
    new.write_text(text)
    new.chmod(0o600)
    new.replace(path)
