"""The daily note: what was earned, what was not done and why, and the same money in plain USDC."""

import json
from decimal import Decimal
from typing import Final

from carry.core.num import ZERO, show
from carry.core.state import Idle, State
from carry.shell import screen
from carry.shell.reader import Reader
from carry.shell.status import report
from carry.shell.why import of_market

DAY_MS: Final = 86_400_000
CAUSES: Final = (
    "net_usd",
    "funding_usd",
    "fees_usd",
    "basis_usd",
    "slippage_usd",
    "external_usd",
)


def _usd(value: Decimal) -> str:
    return show(value.quantize(Decimal("0.01")))


def compose(reader: Reader, seq: int, state: State, since_ms: int | None, strangers: int) -> str:
    """The note for the time since `since_ms` (venue clock), or the last day. strangers: ignored."""
    found = report(seq, state)
    now_ms = found["now_ms"]
    from_ms = since_ms if since_ms is not None else max(now_ms - DAY_MS, _began(reader, now_ms))
    before = _totals(reader, from_ms)
    now = {cause: Decimal(found["pnl"][cause]) for cause in CAUSES}
    made = {cause: now[cause] - before.get(cause, ZERO) for cause in CAUSES}
    hours = max(1, (now_ms - from_ms) // 3_600_000)
    lines = [
        f"In {hours} h earned ${_usd(made['net_usd'])}: funding {_usd(made['funding_usd'])} - fees "
        f"{_usd(made['fees_usd'])} + basis {_usd(made['basis_usd'])} + slippage "
        f"{_usd(made['slippage_usd'])} + external {_usd(made['external_usd'])}."
    ]
    if found["equity_usd"] is not None:
        equity = Decimal(found["equity_usd"])
        lines.append(
            f"The account is worth ${_usd(equity)}; the same money left in plain USDC would be "
            f"${_usd(equity - made['net_usd'])}."
        )
    else:
        lines.append("What the account is worth is not known: some price is missing.")
    lines.append(_done(reader, from_ms))
    lines += _undone(state)
    lines.append(found["why"]["text"])
    residual = found["pnl"]["residual_usd"]
    lines.append(f"Unexplained: {'unknown' if residual is None else '$' + residual}.")
    if strangers:
        lines.append(f"{strangers} messages of strangers were ignored.")
    return "\n".join(lines)


def _began(reader: Reader, now_ms: int) -> int:
    """When the bot's first decision was told (venue clock); now, when there is none."""
    first = reader.rows("SELECT min(at_ms) FROM decisions")[0][0]
    return now_ms if first is None else int(first)


def _totals(reader: Reader, at_ms: int) -> dict[str, Decimal]:
    """PnL by cause as it was told last before a time; nothing before the journal began."""
    rows = reader.rows(
        "SELECT fields FROM decisions WHERE event = 'pnl_update' AND at_ms <= ? "
        "ORDER BY seq DESC LIMIT 1",
        at_ms,
    )
    return {} if not rows else {k: Decimal(v) for k, v in json.loads(rows[0][0]).items()}


def _done(reader: Reader, from_ms: int) -> str:
    rows = dict(
        reader.rows(
            "SELECT event, count(*) FROM decisions WHERE at_ms > ? AND event IN "
            "('entry', 'exit', 'funding', 'fill', 'hedge_repair_started') GROUP BY event",
            from_ms,
        )
    )
    alerts = reader.rows("SELECT count(*) FROM alerts WHERE at_ms > ?", from_ms)[0][0]
    return (
        f"{rows.get('entry', 0)} entries, {rows.get('exit', 0)} exits, {rows.get('fill', 0)} "
        f"fills, {rows.get('funding', 0)} payments, {rows.get('hedge_repair_started', 0)} repairs, "
        f"{alerts} alerts."
    )


def _undone(state: State) -> list[str]:
    """What idle markets wait for."""
    from carry.core.step import gates

    found = gates(state)
    return [
        f"Not done: {screen.sentence(of_market(state, carry, found).text, carry.coin)}."
        for carry in state.carries.values()
        if isinstance(carry.phase, Idle) and carry.coin in state.policy.coins
    ]
