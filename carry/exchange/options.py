"""The command line of `carry exchange`, and the exchange it describes."""

import argparse
import re
import time
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple, NoReturn

from carry.core.num import use_exact_context

from .accounts import SPLIT, UNIFIED
from .assets import all_coins
from .faults import Faults
from .gateway import Gateway
from .market import SeededMarket
from .model import STEP_MS, Exchange
from .paths import HOUR_MS, MINUTE_MS, Market
from .recorded import BadRecording, RecordedMarket, parse_date
from .state import BadState, load, save
from .switches import SWITCHES, BadSwitch, choose

DEFAULT_COINS = ("HYPE", "BTC", "ETH", "SOL")
LOCKSTEP_EPOCH_MS = 1_767_607_200_000
"""2026-01-05 10:00 UTC; a seed starts 0 to 27 days after it, 20 minutes past the hour."""

START_MINUTE = 20
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


class Usage(Exception):
    """What the user must change, in one line."""


class Options(NamedTuple):
    port: int
    clock: str
    speed: float
    seed: int
    market: str
    funds: tuple[tuple[str, Decimal, str | None], ...]
    agents: tuple[tuple[str, str], ...]
    mode: str
    state: Path | None
    coins: tuple[str, ...] | None
    since: str | None
    until: str | None
    lose_requests: float
    lose_replies: float
    limits: bool
    step_ms: int
    switches: dict[str, str]
    volumes: tuple[tuple[str, Decimal], ...]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Usage(message)


def parse(argv: list[str]) -> Options:
    """Raises Usage. `--help` prints and exits 0."""
    p = _Parser(prog="carry exchange", description=__doc__)
    p.add_argument("--port", type=int, default=0, help="loopback port; 0 takes a free one")
    p.add_argument("--clock", choices=("wall", "lockstep"), default="wall",
                   help="real time, or time that moves only while a client waits")
    p.add_argument("--speed", type=float, default=0.0,
                   help="lockstep: exchange seconds a second; 0 is as fast as possible")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--market", default="seeded", help="`seeded`, or a folder of recordings")
    p.add_argument("--fund", action="append", default=[], metavar="ADDR=USDC[@WALLET]",
                   help="an account with play money, half in each wallet or all in `spot` or "
                        "`perp` (repeatable)")
    p.add_argument("--volume", action="append", default=[], metavar="ADDR=USDC",
                   help="volume the account has traded before (repeatable)")
    p.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE",
                   help="answer an open question of the venue otherwise (repeatable): "
                        + ", ".join(f"{s.name} ({'|'.join(s.values)})" for s in SWITCHES))
    p.add_argument("--agent", action="append", default=[], metavar="A=ADDR",
                   help="agent A may act for ADDR (repeatable)")
    p.add_argument("--mode", choices=(SPLIT, UNIFIED), default=SPLIT,
                   help="of funded accounts: two wallets, or one USDC balance")
    p.add_argument("--state", type=Path, default=None, help="file to keep the exchange in")
    p.add_argument("--coins", default=None, help="comma separated; default: all the market has")
    p.add_argument("--from", dest="since", default=None, metavar="DATE",
                   help="recordings: start here (ISO, UTC)")
    p.add_argument("--to", dest="until", default=None, metavar="DATE",
                   help="recordings: ignore what is later (ISO, UTC)")
    p.add_argument("--lose-requests", type=float, default=0.0, metavar="P",
                   help="fraction of requests closed before they are processed")
    p.add_argument("--lose-replies", type=float, default=0.0, metavar="P",
                   help="fraction of requests processed and closed without a reply")
    p.add_argument("--no-limits", dest="limits", action="store_false",
                   help="do not enforce rate budgets")
    p.add_argument("--step-ms", type=int, default=STEP_MS, help="how often quotes move")
    a = p.parse_args(argv)
    if not 0 <= a.port <= 65_535:
        raise Usage(f"--port {a.port} is not between 0 and 65535")
    for name in ("lose_requests", "lose_replies"):
        if not 0 <= getattr(a, name) <= 1:
            raise Usage(f"--{name.replace('_', '-')} {getattr(a, name)} is not between 0 and 1")
    if a.speed < 0:
        raise Usage(f"--speed {a.speed} is below 0")
    if not 100 <= a.step_ms <= 60_000 or 60_000 % a.step_ms:
        raise Usage(f"--step-ms {a.step_ms} must divide a minute and be at least 100")
    return Options(
        port=a.port, clock=a.clock, speed=a.speed, seed=a.seed, market=a.market,
        funds=tuple(_fund(text) for text in a.fund),
        agents=tuple(_agent(text) for text in a.agent),
        mode=a.mode, state=a.state, coins=_coins(a.coins), since=a.since, until=a.until,
        lose_requests=a.lose_requests, lose_replies=a.lose_replies, limits=a.limits,
        step_ms=a.step_ms, switches=_switches(a.switch),
        volumes=tuple(_money(text, "--volume") for text in a.volume),
    )


def build(options: Options) -> tuple[Gateway, Callable[[], None]]:
    """The gateway to serve, and what to call at the end. Raises Usage."""
    use_exact_context()
    lockstep = options.clock == "lockstep"
    kept = None
    if options.state is not None and options.state.exists():
        try:
            kept = load(options.state)
        except BadState as error:
            raise Usage(str(error)) from error
    if kept is not None and kept.seed != options.seed:
        raise Usage(
            f"{options.state}: was made with --seed {kept.seed}, not {options.seed}: "
            "a market cannot be continued under another seed"
        )
    market = _market(options, lockstep, None if kept is None else kept.market_start_ms)
    exchange = Exchange(
        market, seed=options.seed, limits=options.limits, step_ms=options.step_ms,
        switches=options.switches,
    )
    if market.prints_funding or not lockstep:
        exchange.set_start(market.start_ms)
    else:
        exchange.set_start(market.start_ms + START_MINUTE * MINUTE_MS)
    if not lockstep and kept is None:
        exchange.set_start(time.time_ns() // 1_000_000)

    def write(gateway: Gateway) -> None:
        if options.state is not None:
            save(options.state, gateway)

    gateway = Gateway(
        exchange, lockstep=lockstep, save=write,
        faults=Faults(options.seed, options.lose_requests, options.lose_replies),
    )
    if kept is not None:
        try:
            kept.restore(gateway)
        except BadState as error:
            raise Usage(f"{options.state}: {error}") from error
    fresh = [fund for fund in options.funds if fund[0] not in exchange.accounts]
    for address, usdc, wallet in fresh:
        # A restored account keeps its money: funding is for the first start.
        exchange.open_account(address, mode=options.mode, usdc=usdc, wallet=wallet)
    for address, usdc in options.volumes:
        if address not in exchange.accounts:
            raise Usage(f"--volume {address}={usdc}: {address} has no account; add --fund")
        if any(address == fund[0] for fund in fresh):
            exchange.operations.give_volume(address, usdc)
    for agent, master in options.agents:
        if master not in exchange.accounts:
            raise Usage(f"--agent {agent}={master}: {master} has no account; add --fund")
        if agent not in exchange.agents:
            exchange.approve(agent, master)
    gateway.save_if_changed()
    return gateway, lambda: write(gateway)


def _market(options: Options, lockstep: bool, start_ms: int | None) -> Market:
    if options.market == "seeded":
        if start_ms is None:
            wall = time.time_ns() // 1_000_000
            start_ms = wall - wall % HOUR_MS
            if lockstep:
                start_ms = LOCKSTEP_EPOCH_MS + options.seed % 28 * 24 * HOUR_MS
        return SeededMarket(options.seed, start_ms, options.coins or DEFAULT_COINS)
    try:
        market = RecordedMarket.read(
            Path(options.market), coins=options.coins,
            since_ms=parse_date(options.since), until_ms=parse_date(options.until),
        )
    except BadRecording as error:
        raise Usage(str(error)) from error
    if start_ms is not None:
        market.shift_to(start_ms)
    elif not lockstep:
        wall = time.time_ns() // 1_000_000
        market.shift_to(wall - wall % HOUR_MS)
    return market


def _fund(text: str) -> tuple[str, Decimal, str | None]:
    amount, _, wallet = text.partition("@")
    address, usdc = _money(amount, "--fund")
    if wallet not in ("", "spot", "perp"):
        raise Usage(f"--fund {text}: there is no wallet {wallet}; spot or perp")
    return address, usdc, wallet or None


def _money(text: str, option: str) -> tuple[str, Decimal]:
    address, _, amount = text.partition("=")
    try:
        usdc = Decimal(amount)
    except InvalidOperation:
        usdc = Decimal(-1)
    if not _ADDRESS.fullmatch(address) or not usdc.is_finite() or usdc < 0:
        raise Usage(f"{option} {text}: expected 0x<40 hex>=<USDC>")
    return address.lower(), usdc


def _switches(texts: list[str]) -> dict[str, str]:
    try:
        return choose({name: value for name, _, value in (text.partition("=") for text in texts)})
    except BadSwitch as error:
        raise Usage(f"--switch {error}") from error


def _agent(text: str) -> tuple[str, str]:
    agent, _, master = text.partition("=")
    if not _ADDRESS.fullmatch(agent) or not _ADDRESS.fullmatch(master):
        raise Usage(f"--agent {text}: expected 0x<agent>=0x<master>")
    return agent.lower(), master.lower()


def _coins(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    known = all_coins()
    for name in names:
        if name not in known:
            raise Usage(f"--coins {name}: unknown; there are {', '.join(known)}")
    if not names or len(dict.fromkeys(names)) != len(names):
        raise Usage(f"--coins {text}: name each coin once, at least one")
    return names
