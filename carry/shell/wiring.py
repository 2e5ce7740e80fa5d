"""Where things are: venue, account, journal, and whom to tell. It changes no decision.

The policy (how to trade) is part of the state; this is not, so it may differ between the machines
of a replay. A secret stands here as a reference only.
"""

from decimal import Decimal
from typing import Any

import attrs

from carry.core.num import ZERO
from carry.core.policy import knob

EMBEDDED = "embedded"
NOBODY = "0x" + "0" * 40  # for public reads: whose fees are the base tier's
LIVE_VENUES = ("hyperliquid", "aster")
_GRID: Any = {"lo": Decimal("0.00000001"), "hi": Decimal(100_000), "optional": True}


@attrs.frozen
class SecretRef:
    """Where a secret is: the two words that `carry.base.secrets.resolve` takes."""

    kind: str
    name: str


@attrs.frozen(kw_only=True)
class VenueWiring:
    """The counterparty. `embedded`: our own exchange, play money; else a real one."""

    name: str = knob(
        EMBEDDED,
        "choice",
        "embedded is an exchange of our own with play money; the others are real",
        choices=(EMBEDDED, *LIVE_VENUES),
    )
    network: str | None = knob(
        None,
        "choice",
        "left out only with embedded; never guessed, because a wrong guess is real money",
        choices=("mainnet", "testnet"),
        optional=True,
    )
    base_url: str | None = knob(None, "url", "left out: the network's own address", optional=True)
    ws_url: str | None = knob(
        None, "url", "left out: made from base_url, else the network's own", optional=True
    )
    unified_total_has_pnl: bool = knob(
        False,
        "bool",
        "hyperliquid only: whether a unified account's USDC total counts unrealised PnL; turn it "
        "when what is unexplained equals the PnL of the short",
    )
    spot_base_url: str | None = knob(
        None,
        "url",
        "aster only: the host of spot; left out: base_url if that is your own, else the network's",
        optional=True,
    )
    recv_window_ms: int = knob(
        5_000,
        "ms",
        "aster only: how old a request of a legacy key may be when it arrives",
        lo=1,
        hi=60_000,
    )
    time_sync_interval_ms: int = knob(
        60_000,
        "ms",
        "aster only: how often the venue's clock is read, which requests are stamped by",
        lo=1_000,
        hi=3_600_000,
    )
    spot_tick: Decimal | None = knob(
        None, "ratio", "aster only: price step of spot instead of the venue's", **_GRID
    )
    spot_step: Decimal | None = knob(
        None, "ratio", "aster only: size step of spot instead of the venue's", **_GRID
    )
    perp_tick: Decimal | None = knob(
        None, "ratio", "aster only: price step of perps instead of the venue's", **_GRID
    )
    perp_step: Decimal | None = knob(
        None, "ratio", "aster only: size step of perps instead of the venue's", **_GRID
    )
    seed: int = knob(
        1, "count", "embedded only: which market is drawn; same seed, same run", lo=0, hi=2**32 - 1
    )
    speed: Decimal = knob(
        Decimal(60),
        "ratio",
        "embedded only: exchange seconds per second; 60 pays an hour's funding every minute, "
        "0 runs as fast as it can",
        lo=ZERO,
        hi=Decimal(100_000),
    )
    mode: str = knob(
        "unified",
        "choice",
        "embedded and --paper: how the play account pools its money, as real accounts do",
        choices=("unified", "split"),
    )
    funds_usd: Decimal = knob(
        Decimal(10_000),
        "usd",
        "embedded and --paper: play money on the first day",
        lo=Decimal(50),
        hi=Decimal(10_000_000),
    )
    market: str = knob(
        "seeded", "path", "embedded only: seeded, or a folder of recordings to play back"
    )

    @property
    def embedded(self) -> bool:
        return self.name == EMBEDDED


@attrs.frozen(kw_only=True)
class AccountWiring:
    """Whose account. Both left out with `embedded`, which makes its own."""

    address: str | None = knob(
        None,
        "address",
        "the account that holds the money, 0x and 40 hex digits; never the agent's own address",
        optional=True,
    )
    agent_key: SecretRef | None = knob(
        None,
        "secret",
        "key of an agent (API wallet), which can trade but not withdraw; a dry run needs none",
        optional=True,
    )
    api_key: SecretRef | None = knob(
        None,
        "secret",
        "aster only: a legacy key; new ones are not given out, so agent_key is the way in",
        optional=True,
    )
    api_secret: SecretRef | None = knob(
        None, "secret", "aster only: the secret of the legacy key", optional=True
    )


@attrs.frozen(kw_only=True)
class JournalWiring:
    """The one file that must not be lost."""

    path: str | None = knob(
        None,
        "path",
        "left out: carry.db in $STATE_DIRECTORY (systemd), else data/carry.db",
        optional=True,
    )
    keep_days: int = knob(
        30,
        "count",
        "days of ticks kept for replay; fills, funding and the audit are kept for ever",
        lo=1,
        hi=3650,
    )


@attrs.frozen(kw_only=True)
class TelegramWiring:
    """Chat with the bot, by `carry ops`. Off while token and chat_ids are left out."""

    token: SecretRef | None = knob(
        None, "secret", "the chat bot's token; left out: no Telegram", optional=True
    )
    chat_ids: tuple[int, ...] = knob(
        (),
        "ids",
        "private chats that are alerted and answered; all others are ignored and counted",
        lo=1,
        hi=2**52,
        optional=True,
    )
    user_ids: tuple[int, ...] = knob(
        (),
        "ids",
        "who may give commands there; left out: the people of chat_ids, whose numbers are the same",
        lo=1,
        hi=2**52,
        optional=True,
    )
    api_url: str = knob(
        "https://api.telegram.org", "url", "where the Bot API is; other for a server of your own"
    )

    @property
    def users(self) -> tuple[int, ...]:
        return self.user_ids or self.chat_ids


@attrs.frozen(kw_only=True)
class TelemetryWiring:
    """Prometheus metrics, by `carry ops`, on 127.0.0.1 only: they need no login."""

    port: int = knob(0, "count", "port of the metrics; 0 serves none", lo=0, hi=65_535)


LEVELS = ("info", "warn", "page")


@attrs.frozen(kw_only=True)
class AlertsWiring:
    """When `carry ops` speaks up, and where."""

    silence_ms_max: int = knob(
        120_000, "ms", "no committed tick for this long is an alert", lo=5_000, hi=86_400_000
    )
    repeat_ms: int = knob(
        3_600_000,
        "ms",
        "a page that still holds is repeated after this; a warning after 24 times as long",
        lo=60_000,
        hi=604_800_000,
    )
    heartbeat_ms: int = knob(
        60_000, "ms", "how often ops writes that it and the bot live", lo=1_000, hi=86_400_000
    )
    heartbeat_url: str | None = knob(
        None,
        "url",
        "address of a monitor elsewhere, asked each heartbeat_ms while all is well; it must raise "
        "the alarm when the asking stops, for nobody here can",
        optional=True,
    )
    webhook: SecretRef | None = knob(
        None, "secret", "address that alerts are posted to as JSON; left out: none", optional=True
    )
    telegram_level: str = knob(
        "warn", "choice", "the least severe alert that goes to Telegram", choices=LEVELS
    )
    webhook_level: str = knob(
        "warn", "choice", "the least severe alert that goes to the webhook", choices=LEVELS
    )
    note_at_h: int = knob(
        7, "count", "hour (UTC) from which the daily note is sent; 24 sends none", lo=0, hi=24
    )


@attrs.frozen(kw_only=True)
class HistoryWiring:
    """Copies of the journal for dashboards, by `carry ops`."""

    dsn: SecretRef | None = knob(
        None,
        "secret",
        "address of a TimescaleDB or PostgreSQL, with its password; left out: no history",
        optional=True,
    )
    sample_ms: int = knob(
        1_000,
        "ms",
        "one snapshot of markets and account in so much of the venue's time",
        lo=1_000,
        hi=3_600_000,
    )
    keep_days: int = knob(
        7,
        "count",
        "days of snapshots kept; hours of them, fills, funding, alerts and decisions are kept for "
        "ever. After a change run `carry db migrate`",
        lo=2,
        hi=3650,
    )


@attrs.frozen(kw_only=True)
class Wiring:
    """Everything of the config that is not policy."""

    venue: VenueWiring = attrs.field(factory=VenueWiring)
    account: AccountWiring = attrs.field(factory=AccountWiring)
    journal: JournalWiring = attrs.field(factory=JournalWiring)
    telegram: TelegramWiring = attrs.field(factory=TelegramWiring)
    telemetry: TelemetryWiring = attrs.field(factory=TelemetryWiring)
    alerts: AlertsWiring = attrs.field(factory=AlertsWiring)
    history: HistoryWiring = attrs.field(factory=HistoryWiring)
    interval_ms: int = knob(
        1_000,
        "ms",
        "longest time between two looks; the stream wakes it earlier",
        lo=100,
        hi=60_000,
    )
    min_tick_ms: int = knob(
        20, "ms", "shortest time between two ticks, however much the stream says", lo=1, hi=1_000
    )
