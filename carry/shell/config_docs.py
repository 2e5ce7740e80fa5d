"""config.yaml.example and the table of docs/CONFIGURATION.md, written from the keys themselves.

`make config-docs` writes both; a test fails when one is not what this makes.
"""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from carry.core.policy import Knob, MarketPolicy

from .config_file import POLICY_FIELDS, WIRING_FIELDS
from .scalars import UNIT, limits, written

WIDTH = 100

# What `contradictions` refuses, in words: the key it names, and what must hold.
RELATIONS = {
    "strategy.exit_threshold_apr": "below enter_threshold_apr",
    "strategy.target_usd_notional": "at most risk.per_symbol_notional_cap",
    "strategy.min_exposure_usd": "at most target_usd_notional",
    "strategy.delta_band_usd": "at most target_usd_notional",
    "execution.hedge_repair_stage_ms": "at most hedge_repair_timeout_ms",
    "execution.maker_timeout_ms": "below entry_timeout_ms in maker style",
    "execution.perp_cross": "must be true",
    "execution.perp_leverage": "(1+1/L)/(1-collateral_buffer)-1 above risk.liq_distance_min",
    "risk.liq_distance_min": "below liq_distance_warn",
    "risk.liq_distance_target": "at least liq_distance_warn",
    "risk.hard_cap": "above per_symbol_notional_cap",
    "risk.per_symbol_notional_cap": "at most portfolio_notional_cap",
    "risk.slice_usd": "at least strategy.min_exposure_usd",
    "risk.budget_actions_floor": "at most budget_actions_min",
    "risk.skew_ms_warn": "at most skew_ms_max",
    "venue.network": "needed by hyperliquid and aster, refused with embedded",
    "venue.base_url": "of the same network; refused with embedded",
    "venue.ws_url": "of the same network; refused with embedded",
    "account.address": "needed by hyperliquid and aster, refused with embedded",
    "account.agent_key": "refused with embedded",
    "account.api_key": "together with api_secret; not beside agent_key",
    "account.api_secret": "together with api_key; not beside agent_key",
    "telegram.token": "together with chat_ids",
    "telegram.chat_ids": "together with token",
    "interval_ms": "at most risk.quote_age_ms_max",
    "min_tick_ms": "at most interval_ms",
}

# What a key that is left out by default looks like when it is given.
SAMPLES = {
    "strategy.delta_band_usd": "20",
    "risk.prints_age_ms_max": "7800000",
    "risk.hard_cap": "3000",
    "fees.spot_maker": "0.04%",
    "fees.spot_taker": "0.07%",
    "fees.perp_maker": "0.015%",
    "fees.perp_taker": "0.045%",
    "venue.network": "testnet",
    "venue.base_url": "https://api.hyperliquid-testnet.xyz",
    "venue.ws_url": "wss://api.hyperliquid-testnet.xyz/ws",
    "account.address": "0x0000000000000000000000000000000000000001",
    "venue.spot_base_url": "https://sapi.asterdex-testnet.com",
    "venue.spot_tick": "0.01",
    "venue.spot_step": "0.00001",
    "venue.perp_tick": "0.1",
    "venue.perp_step": "0.001",
    "account.agent_key": "{env: CARRY_AGENT_KEY}",
    "account.api_key": "{env: CARRY_API_KEY}",
    "account.api_secret": "{env: CARRY_API_SECRET}",
    "journal.path": "data/carry.db",
    "telegram.token": "{file: telegram.token}",
    "telegram.chat_ids": "[123456789]",
    "telegram.user_ids": "[123456789]",
    "alerts.heartbeat_url": "https://monitor.example/ping/1234",
    "alerts.webhook": "{file: webhook.url}",
    "history.dsn": "{env: CARRY_HISTORY_DSN}",
}

HEAD = """\
# Settings of carry. start.sh copies this file to config.yaml, which is yours: change it there.
#
# As it stands it trades play money on an exchange of its own, sped up. Every key stands here with
# its default; taking a line out changes nothing. A key with "#" before it is left out by default,
# and then derived as the text above it says.
#
# Rates are written with % or as a fraction below 2 (a bare 10 is refused). Durations are ms or
# hours, as the key's name says; money is USD. An unknown or repeated key, a wrong type, a value out
# of its bounds and two values at odds stop the start, with one line that says what to change.
# A secret never stands here: write where it is, as {env: NAME}, {file: PATH}, {keystore: PATH} or
# {credential: NAME}.
#
# Check it with `carry config check`; docs/CONFIGURATION.md has the same keys as a table.
"""

MARKETS = """\
# The coins to trade, each by spot and perp. Add `reserve_sz: 0.5` for spot units of your own that
# stay yours. A coin taken out is only closed from then on. A coin whose spot token is not in the
# built-in table takes that token's id: `token_id: 0x...`, as the venue lists it.
markets:
  - {base: HYPE}
  - {base: BTC}
"""
EXAMPLE_MARKETS = (MarketPolicy(base="HYPE"), MarketPolicy(base="BTC"))

PAGE_HEAD = """\
# Configuration

One file, `config.yaml`; `config.yaml.example` is the same list as a file to copy from. Every key
has a default. Rates are written with `%` or as a fraction below 2; the tables show them with `%`.
"At run time" says what `carry set KEY VALUE` may change while the bot runs; "down" means that the
chat may only lower it.

A config that is refused stops the start with exit code 2 and one line: file, line, key, value,
bound and the nearest known key. `carry config check` says the same without starting.

A secret never stands in the file. Write where it is: `{env: NAME}` (an environment variable),
`{file: PATH}` (a file that only you can read), `{keystore: PATH}` (an encrypted key file, web3
keystore v3), `{credential: NAME}` (systemd's `LoadCredential`).

| example | what it is |
|---|---|
| `config.yaml.example` | the embedded exchange, play money, sped up |
| `examples/small-trial.yaml` | $50, BTC only, testnet first |
"""

RUN_TIME = {"any": "yes", "down": "yes; chat: down", "no": ""}


def keys(section: str, cls: Any) -> Iterator[tuple[str, Knob, Any]]:
    """Each key of a section with its full name, `Knob` and default, nested sections included."""
    for field in attrs.fields(cls):
        name = f"{section}.{field.name}" if section else field.name
        if "knob" in field.metadata:
            yield name, field.metadata["knob"], field.default
        elif isinstance(field.type, type) and attrs.has(field.type) and section:
            yield from keys(name, field.type)


def example() -> str:
    """The text of config.yaml.example."""
    parts = [HEAD, *(_section(name, field.type) for name, field in _wiring_sections("before"))]
    parts.append(MARKETS)
    parts += [_section(name, field.type) for name, field in POLICY_FIELDS.items()]
    parts += [_section(name, field.type) for name, field in _wiring_sections("after")]
    parts += [
        "\n".join(_entry(name, field.metadata["knob"], field.default, "")) + "\n"
        for name, field in WIRING_FIELDS.items()
        if "knob" in field.metadata
    ]
    return "\n".join(parts)


def page() -> str:
    """The text of docs/CONFIGURATION.md."""
    parts = [PAGE_HEAD]
    top = [
        (name, field.metadata["knob"], field.default)
        for name, field in WIRING_FIELDS.items()
        if "knob" in field.metadata
    ]
    tables = [
        *(
            (name, tuple(keys(name, field.type)), field.type)
            for name, field in POLICY_FIELDS.items()
        ),
        ("markets", tuple(keys("markets", MarketPolicy)), MarketPolicy),
        *(
            (name, tuple(keys(name, field.type)), field.type)
            for name, field in WIRING_FIELDS.items()
            if "knob" not in field.metadata
        ),
        ("the tick", tuple(top), None),
    ]
    for name, rows, cls in tables:
        about = (
            f"{cls.__doc__.strip().splitlines()[0]}\n\n" if cls is not None and cls.__doc__ else ""
        )
        parts.append(f"## {name}\n\n{about}{_table(rows)}")
    return "\n".join(parts)


def _wiring_sections(place: str) -> Iterator[tuple[str, Any]]:
    """Venue and account come first in the file: they are what a user changes first."""
    first = ("venue", "account")
    for name, field in WIRING_FIELDS.items():
        if "knob" not in field.metadata and (name in first) == (place == "before"):
            yield name, field


def _section(name: str, cls: Any) -> str:
    about = cls.__doc__.strip().splitlines()[0]
    lines = [f"# {about}", f"{name}:"]
    depth = 1
    for full, knob, default in keys(name, cls):
        parents = full.split(".")[1:-1]
        if parents and depth == 1:
            lines.append(f"  {parents[0]}:")
            depth = 2
        lines += _entry(full, knob, default, "  " * depth)
    return "\n".join(lines) + "\n"


def _entry(full: str, knob: Knob, default: Any, indent: str) -> list[str]:
    """The comment with reason, unit, bounds and relation, then the key with its default."""
    facts = (
        limits(knob) or (UNIT[knob.kind] if knob.kind in ("address", "bool") else ""),
        RELATIONS.get(full, ""),
        "may change at run time" if knob.settable != "no" else "",
    )
    said = f"{knob.why[:1].upper()}{knob.why[1:]}"
    if any(facts):
        said += f" ({'; '.join(fact for fact in facts if fact)})"
    lines = textwrap.wrap(said, WIDTH - len(indent) - 2, break_on_hyphens=False)
    name = full.rpartition(".")[2]
    given = f"{name}: {written(knob, default)}"
    if default in (None, ()):
        given = f"#{name}: {SAMPLES[full]}"
    return [*(f"{indent}# {line}" for line in lines), f"{indent}{given}"]


def _table(rows: tuple[tuple[str, Knob, Any], ...]) -> str:
    lines = [
        "| key | unit | default | min | max | relation | reason | at run time |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for full, knob, default in rows:
        unit = ", ".join(knob.choices) if knob.choices else UNIT[knob.kind]
        cells = (
            f"`{full}`",
            unit,
            "left out" if default in (None, ()) else f"`{written(knob, default)}`",
            "" if knob.lo is None else written(knob, knob.lo),
            "" if knob.hi is None else written(knob, knob.hi),
            RELATIONS.get(full, ""),
            knob.why,
            RUN_TIME[knob.settable],
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write both files, into the checkout that this module is in."""
    root = Path(__file__).resolve().parents[2]
    (root / "config.yaml.example").write_text(example())
    (root / "docs").mkdir(exist_ok=True)
    (root / "docs" / "CONFIGURATION.md").write_text(page())


if __name__ == "__main__":
    main()
