"""The venue adapter over an exchange in this process: no socket, no thread, the exchange's time."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from carry.base.clock import Streaming, WallClock
from carry.exchange.accounts import SPLIT
from carry.exchange.market import SeededMarket
from carry.exchange.model import Exchange
from carry.exchange.streams import Session
from carry.venues.hyperliquid.constants import Network
from carry.venues.hyperliquid.venue import HyperliquidVenue
from carry.venues.keys import AgentKey
from carry.venues.transport import Reply

START_MS = 1_767_607_200_000 + 1_200_000
ACCOUNT = "0x00000000000000000000000000000000000000aa"
AGENT = AgentKey(b"\x07" * 32)
LATENCY_MS = 50

Mangle = Callable[[str, bytes, Callable[[], Reply]], Reply]


class DirectClock(WallClock):
    """The exchange's time on the machine's clocks. `skew_ms`: how far wall is ahead of it."""

    def __init__(self, exchange: Exchange, skew_ms: int = 0) -> None:
        super().__init__()
        self._exchange, self.offset_ms = exchange, skew_ms
        self.link: DirectLink | None = None

    def mono_ms(self) -> int:
        return self._exchange.now - START_MS + 1_000_000

    def resume(self, mono_ms: int, wall_ms: int) -> None: ...

    def wall_ms(self) -> int:
        return self._exchange.now + self.offset_ms

    def journal_id(self, account: str) -> int:
        return 42

    def wait(self, venue: Streaming, ms: int) -> bool:
        end_ms = self._exchange.now + ms
        while self._exchange.now < end_ms:
            session = None if self.link is None else self.link.session
            self._exchange.advance(end_ms, waking=session)
            if venue.stream.poll(0):
                return True
        return False


class DirectTransport:
    """Requests as calls. `mangle` may do otherwise; `minutes` counts weight by the exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.mangle: Mangle = lambda path, body, send: send()
        self.posts = 0

    def post(self, path: str, body: bytes, deadline_s: float) -> Reply:
        self.posts += path == "/exchange"

        def send() -> Reply:
            self._exchange.advance(self._exchange.now + LATENCY_MS)
            status, answer = self._exchange.http(path, body)
            return status, {}, answer

        return self.mangle(path, body, send)

    def close(self) -> None: ...


class DirectLink:
    """A session of the exchange as a `Link`; it reconnects when it is tended."""

    def __init__(self, exchange: Exchange, clock: DirectClock) -> None:
        self._exchange, self._clock = exchange, clock
        clock.link = self
        self.session: Session | None = None
        self._hello: Callable[[], Sequence[str]] = tuple
        self._lost = False
        self._started = False

    def start(self, hello: Callable[[], Sequence[str]]) -> None:
        self._hello, self._started = hello, True
        self.tend(0)

    def tend(self, now_ms: int) -> None:
        if self.session is None and self._started:
            self.session = self._exchange.connect("bot")
            for text in self._hello():
                self._exchange.receive(self.session, text)

    def stop(self) -> None:
        self._started = False
        self.abort()

    def abort(self) -> None:
        if self.session is not None:
            self._exchange.streams.disconnect(self.session)
            self.session, self._lost = None, True

    def send(self, texts: Sequence[str], acked: bool) -> None:
        for text in texts if self.session is not None else ():
            self._exchange.receive(self.session, text)

    def take(self) -> tuple[Sequence[tuple[int, bytes]], bool]:
        texts = [] if self.session is None else self.session.take()
        lost, self._lost = self._lost, False
        now_ms = self._clock.mono_ms()
        return tuple((now_ms, text.encode()) for text in texts), lost

    def wait(self, timeout_s: float) -> bool:
        return False

    def is_open(self) -> bool:
        return self.session is not None

    def received(self) -> int:
        return 0

    def wait_received(self, count: int, timeout_s: float) -> bool:
        return True

    def wait_closed(self, timeout_s: float) -> bool:
        return True


class Desk:
    """An exchange with one funded account and its approved agent, and the bot's side of it."""

    def __init__(
        self,
        *,
        seed: int = 1,
        coins: Sequence[str] = ("HYPE",),
        mode: str = SPLIT,
        usdc: Decimal | None = Decimal(10_000),
        approve: bool = True,
        network: Network = Network.TESTNET,
        key: AgentKey | None = AGENT,
        skew_ms: int = 0,
        identified: bool = False,
        account: str = ACCOUNT,
        total_has_pnl: bool = False,
        wallet: str | None = None,
        **options: Any,
    ) -> None:
        market = SeededMarket(seed, START_MS - START_MS % 3_600_000, tuple(coins))
        self.exchange = Exchange(market, seed=seed, **options)
        self.exchange.funding.history_sample_ms = 3_600_000
        self.exchange.set_start(START_MS)
        if usdc is not None:
            self.exchange.open_account(ACCOUNT, mode=mode, usdc=usdc, wallet=wallet)
        if approve and usdc is not None:
            self.exchange.approve(AGENT.address, ACCOUNT, "bot")
        self.clock = DirectClock(self.exchange, skew_ms)
        self.transport = DirectTransport(self.exchange)
        self.link = DirectLink(self.exchange, self.clock)
        self.venue = HyperliquidVenue(
            network=network,
            account=account,
            coins=tuple(coins),
            key=key,
            clock=self.clock,
            transport=self.transport,
            link=self.link,
            identified=identified,
            total_has_pnl=total_has_pnl,
        )

    def resting(self) -> int:
        """Orders of the account in any book, by the exchange's own word."""
        return len(self.exchange.accounts[ACCOUNT].orders) if ACCOUNT in self.exchange.accounts \
            else 0  # fmt: skip
