"""`carry`: the commands, each imported only when it is used, and the exit codes of all of them."""

import importlib
import sys
from typing import Any

import click

# command -> (module under carry.cli, what it does)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "A week of a carry, told as it happens: offline, no keys, the real engine."),
    "run": ("run", "The bot: look, decide, write down, act, until it is stopped."),
    "ops": ("ops", "The second process: alerts, Telegram, metrics; it never holds the key."),
    "exchange": ("exchange", "The embedded exchange, as a server of its own."),
    "status": ("look", "What is held, earned and waited for."),
    "why": ("look", "In one sentence what it waits for, and how far it is from passing."),
    "logs": ("look", "The bot's log, as it is written."),
    "pnl": ("books", "Profit and loss by cause, of any interval; statements."),
    "export": ("books", "The books as double entries, for accounts and taxes."),
    "report": ("books", "One page with charts of the books, for a browser or paper."),
    "positions": ("look", "Both legs of each market, and what is foreign."),
    "doctor": ("doctor", "Whether live trading could start, and what blocks it; read-only."),
    "pause": ("operate", "Stop entries; what is held stays hedged."),
    "resume": ("operate", "Clear a latch by its name (pause unless named)."),
    "flatten": ("operate", "Close everything, then stay out."),
    "kill": ("operate", "Withdraw all orders, close everything, stay out."),
    "adopt": ("operate", "Take foreign holdings of a coin into the carry."),
    "set": ("operate", "Change a setting while the bot runs."),
    "markets": ("markets", "All pairs: ids, funding, depth, cost, expected net, rank, why not."),
    "probe": ("probe", "Test orders at a venue, away from the market: placed, seen, withdrawn."),
    "alert": ("alert", "Try the ways alerts go, or tell the daily note."),
    "explain": ("explain", "One tick of the past: what was known, each gate, what came of it."),
    "yardstick": ("yardstick", "What share of the funding to be had the bot's rule captures."),
    "replay": ("replay", "Decide journaled ticks again and compare."),
    "backtest": ("backtest", "The bot over recorded funding and prices: what it earned, and why."),
    "sweep": ("sweep", "Many settings over a recording, judged where they were not chosen."),
    "bundle": ("bundle", "One redacted file of ticks, policy and versions that replays elsewhere."),
    "data": ("data", "Check recorded funding and prices."),
    "storm": ("storm", "Whole bots against the exchange under faults; promises are checked."),
    "config": ("config", "Check or show the config."),
    "db": ("db", "The history database: make or upgrade its tables."),
    "key": ("key", "Make or take over an agent's key, and keep it encrypted."),
}


class Lazy(click.Group):
    """A group that knows its commands' names and purposes without importing them.

    table: name -> (module under carry.cli, purpose). The command is the module's attribute of that
    name, with an underscore behind it where Python has a word of its own.
    """

    def __init__(self, *args: Any, table: dict[str, tuple[str, str]], **more: Any) -> None:
        super().__init__(*args, **more)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.table:
            return None
        module = importlib.import_module(f"carry.cli.{self.table[name][0]}")
        command: click.Command = getattr(module, name if name != "set" else "set_")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            rows = [(name, purpose) for name, (_, purpose) in self.table.items()]
            formatter.write_dl(rows or [("-", "none")])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.table and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], self.table, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; see {ctx.command_path} --help"
            raise click.UsageError(f"no such command: {args[0]}{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Lazy, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="carry", message="%(version)s")
def carry() -> None:
    """Long spot, short perp of the same coin: collects funding on Hyperliquid, unattended.

    Exit codes: 0 done, 1 failed, 2 bad usage or config, 3 refused for safety.
    """


def main(args: list[str] | None = None) -> None:
    """The console script. An operator's mistake is one line, never a stack trace."""
    if not __debug__:
        print("carry refuses to run under python -O: its guards are asserts", file=sys.stderr)
        sys.exit(3)
    # The exchange has its own options, and its speed of starting is part of the bot's.
    words = sys.argv[1:] if args is None else args
    if words[:1] == ["exchange"]:
        from carry.exchange.server import main as serve

        sys.exit(serve(words[1:]))
    try:
        code: Any = carry.main(args=args, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except click.Abort:
        print("aborted", file=sys.stderr)
        sys.exit(1)
    except click.ClickException as mistake:
        mistake.show()
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(1)
    except Exception as error:
        sys.exit(_told(error))


def _told(error: Exception) -> int:
    """Print what an operator can act on, and its exit code; anything else is a bug and traced."""
    from carry.base.clock import ClockFailed
    from carry.base.secrets import SecretRefused
    from carry.exchange.recorded import BadRecording
    from carry.ops.history.migrations import HistoryRefused
    from carry.ops.history.prepare import HistoryDown
    from carry.ops.main import OpsRuns
    from carry.ops.routes import NotTaken
    from carry.research.bundle import Leaks
    from carry.research.past import NotThere, Unreadable
    from carry.research.predict import TooShort
    from carry.research.report_page import ReportRefused
    from carry.research.space import BadSpace
    from carry.research.sweep import Missing, NotThisSweep
    from carry.shell.commands import Refused as CommandRefused
    from carry.shell.config_file import ConfigError
    from carry.shell.connecting import Refused
    from carry.shell.database import JournalRefused, NoJournal
    from carry.shell.embedded import ExchangeFailed
    from carry.shell.journal import JournalFailed
    from carry.shell.lock import Locked
    from carry.shell.loop import CrashedTwice
    from carry.shell.places import MemoryRefused
    from carry.venues.base import ReadFailed

    codes: dict[type[Exception], int] = {
        ConfigError: 2,
        BadRecording: 2,
        CommandRefused: 2,
        SecretRefused: 3,
        Refused: 3,
        Locked: 3,
        MemoryRefused: 3,
        JournalRefused: 3,
        NoJournal: 1,
        JournalFailed: 1,
        ClockFailed: 1,
        CrashedTwice: 1,
        ExchangeFailed: 1,
        ReadFailed: 1,
        OpsRuns: 3,
        HistoryRefused: 3,
        HistoryDown: 1,
        NotTaken: 1,
        NotThere: 2,
        ReportRefused: 1,
        Unreadable: 1,
        Leaks: 3,
        TooShort: 1,
        BadSpace: 2,
        NotThisSweep: 2,
        Missing: 1,
    }
    code = codes.get(type(error))
    if code is None:
        raise error
    print(f"carry: {error}", file=sys.stderr)
    return code
