"""The table language of the scenarios: a YAML head, then one row a tick, seen => phase, actions.

Two spaces split columns, `.` repeats the cell above, `-` is nothing. Parsing is strict: an unknown
head key, a wrong number of columns or an unknown word names the file and the row.

    t   spot          perp          funding  events  =>  phase  actions
    0s  25.00/25.001  25.00/25.001  1bp      -       =>  enter  buy spot 8 @ 25.003 ioc
    1s  .             .             .        fills   =>  enter  sell perp 7.99 @ 24.998 ioc

With several markets the columns of a market carry its name (`ETH.spot`), the phase cell lists
`HYPE idle; ETH enter`, and an action starts with its coin.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import attrs
import yaml

D = Decimal

HERE = Path(__file__).parent
HEAD = ("name", "why", "config", "account", "markets", "start", "residual", "ticks")
PHASES = ("idle", "enter", "hedge_ok", "exit")
ACTIONS = ("buy", "sell", "fence", "query", "cancel", "withdraw", "leverage", "move", "alert")
UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Malformed(Exception):
    """A scenario that does not say what it means: file, line and reason."""


@attrs.frozen(kw_only=True)
class Row:
    """One tick: `cells` of the market columns by (coin, column), None where nothing is quoted."""

    line: int
    t_ms: int
    cells: Mapping[tuple[str, str], str | None]
    events: tuple[tuple[str, ...], ...]
    phases: Mapping[str, str]
    actions: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Scenario:
    path: Path
    name: str
    why: str
    config: Mapping[str, Any]
    account: Mapping[str, Any]
    markets: Mapping[str, Mapping[str, Any]]
    start: str
    residual: bool
    rows: tuple[Row, ...]

    @property
    def golden(self) -> Path:
        return self.path.with_suffix(".golden")

    def where(self, row: Row) -> str:
        return f"{self.path.name}:{row.line}"


class _Loader(yaml.SafeLoader):
    """YAML whose scalars stay text: numbers become exact later, where their meaning is known."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}


def files() -> tuple[Path, ...]:
    return tuple(sorted(HERE.glob("*.yaml")))


def load(path: Path) -> Scenario:
    text = path.read_text(encoding="utf-8")
    head = yaml.load(text, _Loader)
    if not isinstance(head, dict):
        raise Malformed(f"{path.name}: no head")
    for key in head:
        if key not in HEAD:
            raise Malformed(f"{path.name}: unknown key {key!r} in the head")
    for key in ("name", "why", "ticks"):
        if not head.get(key):
            raise Malformed(f"{path.name}: {key!r} is missing in the head")
    markets = {c: dict(facts or {}) for c, facts in (head.get("markets") or {"HYPE": {}}).items()}
    first = next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith("ticks:")) + 1
    return Scenario(
        path=path,
        name=head["name"],
        why=head["why"].strip(),
        config=head.get("config") or {},
        account=head.get("account") or {},
        markets=markets,
        start=head.get("start", "fresh"),
        residual=head.get("residual", "no") == "yes",
        rows=tuple(_rows(path, text.splitlines(), first, tuple(markets))),
    )


def _split(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def _rows(path: Path, lines: list[str], first: int, coins: tuple[str, ...]) -> list[Row]:
    columns: list[str] | None = None
    above: list[str] = []
    rows: list[Row] = []
    for number, line in enumerate(lines[first - 1 :], first):
        body = line.split(" # ")[0].rstrip()
        if not body.strip() or body.strip().startswith("#"):
            continue
        cells = _split(body)
        if columns is None:
            columns = _columns(path, number, cells, coins)
            continue
        if len(cells) != len(columns):
            raise Malformed(
                f"{path.name}:{number}: {len(cells)} columns instead of {len(columns)}: {cells}"
            )
        filled = []
        for n, cell in enumerate(cells):
            if cell == "." and not above:
                raise Malformed(f"{path.name}:{number}: `.` with no row above")
            filled.append(above[n] if cell == "." else cell)
        above = filled
        rows.append(_row(path, number, dict(zip(columns, filled, strict=True)), coins, rows))
    if not rows:
        raise Malformed(f"{path.name}: no ticks")
    return rows


def _columns(path: Path, number: int, cells: list[str], coins: tuple[str, ...]) -> list[str]:
    many = len(coins) > 1
    own = [f"{c}.{what}" if many else what for c in coins for what in ("spot", "perp", "funding")]
    known = ["t", *own, "events", "=>", "phase", "actions"]
    for cell in cells:
        if cell not in known:
            raise Malformed(f"{path.name}:{number}: unknown column {cell!r}, one of {known}")
    if sorted(cells) != sorted(known):
        raise Malformed(f"{path.name}:{number}: columns are {cells}, expected {known}")
    return cells


def _row(
    path: Path, number: int, cells: Mapping[str, str], coins: tuple[str, ...], before: list[Row]
) -> Row:
    where = f"{path.name}:{number}"
    t_ms = duration(cells["t"], where)
    if before and t_ms <= before[-1].t_ms:
        raise Malformed(f"{where}: {cells['t']} is not after the row above")
    if cells["=>"] != "=>":
        raise Malformed(f"{where}: {cells['=>']!r} where => belongs")
    facts: dict[tuple[str, str], str | None] = {}
    for coin in coins:
        for what in ("spot", "perp", "funding"):
            cell = cells[f"{coin}.{what}" if len(coins) > 1 else what]
            facts[coin, what] = None if cell == "-" else cell
    return Row(
        line=number,
        t_ms=t_ms,
        cells=facts,
        events=tuple(tuple(e.split()) for e in _words(cells["events"])),
        phases=_phases(where, cells["phase"], coins),
        actions=tuple(_action(where, a, coins) for a in _words(cells["actions"])),
    )


def _words(cell: str) -> tuple[str, ...]:
    return () if cell == "-" else tuple(w.strip() for w in cell.split(";"))


def _phases(where: str, cell: str, coins: tuple[str, ...]) -> Mapping[str, str]:
    found: dict[str, str] = dict.fromkeys(coins, "?") if cell == "?" in PHASES else {}
    for part in () if found else _words(cell):
        coin, _, word = part.rpartition(" ")
        coin = coin or coins[0]
        if coin not in coins or (word not in PHASES and word != "gone"):
            raise Malformed(f"{where}: unknown phase {part!r}")
        found[coin] = word
    if tuple(found) != coins:
        raise Malformed(f"{where}: a phase for each of {coins}, not {cell!r}")
    return found


def _action(where: str, text: str, coins: tuple[str, ...]) -> str:
    words = text.split()
    if len(coins) > 1 and words[0] in coins:
        words = words[1:]
    if not words or words[0] not in ACTIONS:
        raise Malformed(f"{where}: unknown action {text!r}")
    return text


def duration(text: str, where: str) -> int:
    """Milliseconds of "1.5s", "25h", "1h30m"."""
    parts = re.fullmatch(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", text)
    if parts is None:
        raise Malformed(f"{where}: {text!r} is not a time")
    found = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text)
    return sum(int(D(n) * UNIT_MS[unit]) for n, unit in found)


def rate(text: str) -> Decimal:
    """A fraction: "1bp", "0.0001", "-2%"."""
    if text.endswith("bp"):
        return D(text[:-2]) / 10_000
    if text.endswith("%"):
        return D(text[:-1]) / 100
    return D(text)
