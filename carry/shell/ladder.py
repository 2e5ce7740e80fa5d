"""From demo to live by evidence: each rung is recomputed from journals each time.

A rung is earned when all below it are and its own evidence is there. Nothing remembers that it was:
a journal that is gone, or a fault that is open, takes it back.
"""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final

import attrs

from carry.core.num import ZERO, show
from carry.core.policy import Policy
from carry.core.state import RULES, Idle, State

from .connecting import PAPER, Refused, account_of
from .database import JournalRefused, NoJournal
from .places import DEMO, Places
from .places import PAPER as PAPER_JOURNAL
from .reader import Reader

DEMO_RUNG, DRY, ON_PAPER, CANARY, LIVE = "demo", "dry run", "paper", "canary", "live"
RUNGS: Final = (DEMO_RUNG, DRY, ON_PAPER, CANARY, LIVE)
MAINNET: Final = "mainnet"
PAPER_H: Final = 72
CANARY_H: Final = 168
PAYMENTS_MIN: Final = 24
CANARY_USD_MAX: Final = Decimal(200)  # portfolio_notional_cap of a canary
SAMPLE_MS: Final = 60_000
GAP_MS_MAX: Final = 600_000  # a longer pause between two ticks is time the bot did not run
MICRO_USD: Final = Decimal("0.000001")
WORDS: Final = "I accept real money without the evidence"
OWN_STOPS: Final = ("pause", "flatten", "kill")  # an operator's word, and no fault


@attrs.frozen(kw_only=True)
class Rung:
    """name: of `RUNGS`. found: what the journal shows. missing: what is not there, with the next
    step; none when the rung's own evidence is whole.
    """

    name: str
    found: str
    missing: tuple[str, ...] = ()


def rungs(places: Places, policy: Policy) -> tuple[Rung, ...]:
    """What is proven for the config's account, from the bottom; `live` needs what canary proves."""
    assert places.wiring is not None
    folder, account = places.journal_folder, account_of(places.wiring)
    own = _Evidence.of(Path(places.journal), MAINNET, account)
    return (
        _demo(_Evidence.of(folder / DEMO, DEMO_RUNG, None)),
        _dry_run(own),
        _paper(_Evidence.of(folder / PAPER_JOURNAL, f"{PAPER} {MAINNET}", None), policy),
        _canary(own),
    )


def earned(found: tuple[Rung, ...]) -> tuple[str, ...]:
    """The rungs whose evidence is whole and stands on that of all below."""
    names = []
    for rung in found:
        if rung.missing:
            break
        names.append(rung.name)
    return tuple(names)


def asked_for(policy: Policy) -> str:
    """Which rung a run of this policy with real money is: a canary is small by its cap."""
    small = policy.risk.portfolio_notional_cap <= CANARY_USD_MAX
    return CANARY if small else LIVE


def check(places: Places, policy: Policy, words: str | None = None) -> None:
    """Let a run on mainnet go on, or say what is missing for it. Raises Refused.

    words: the operator's, who may go without the evidence by saying so whole.
    """
    found = rungs(places, policy)
    wanted = asked_for(policy)
    below = found[: RUNGS.index(wanted)]
    missing = [f"{rung.name}: {text}" for rung in below for text in rung.missing]
    if not missing or words == WORDS:
        return
    if words is not None:
        raise Refused(f"--unproven takes these words and no others: {WORDS!r}")
    cap = show(policy.risk.portfolio_notional_cap)
    smaller = ""
    if wanted == LIVE:
        smaller = (
            f" With portfolio_notional_cap at most {show(CANARY_USD_MAX)} it is a canary, which "
            "needs less."
        )
    proven = ", ".join(earned(found)) or "nothing"
    raise Refused(
        f"mainnet with portfolio_notional_cap {cap} is the rung {wanted!r}; proven: {proven}. "
        f"Missing: {'; '.join(missing)}.{smaller} To go without: --unproven {WORDS!r}"
    )


def let_in(places: Places, policy: Policy, words: str | None = None) -> str | None:
    """Why a run on mainnet may go on but not enter; None when it may enter. Raises Refused.

    What is held has to be kept hedged and can always be left, whatever the evidence says by now.
    """
    try:
        check(places, policy, words)
    except Refused as refused:
        assert places.wiring is not None
        account = account_of(places.wiring)
        own = _Evidence.of(Path(places.journal), MAINNET, account).state
        if own is None or not _holds(own):
            raise
        return str(refused)
    return None


def _holds(state: State) -> bool:
    return bool(state.intents) or any(c.spot_sz or c.perp_sz for c in state.carries.values())


def needed(places: Places) -> bool:
    """Whether a run of this config is with real money; testnet and play money are free."""
    assert places.wiring is not None
    return places.wiring.venue.network == MAINNET


def told(found: tuple[Rung, ...]) -> Iterator[str]:
    """The ladder for a person, one rung a line."""
    proven = earned(found)
    for rung in found:
        mark = "proven" if rung.name in proven else "missing"
        text = rung.found if not rung.missing else "; ".join((rung.found, *rung.missing))
        yield f"{rung.name}: {mark}: {text}"


# --- evidence -------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Evidence:
    """What one journal shows. `why`: why nothing can be read of it, "" when it can.

    hours: of exchange time that ticks under the present rules cover, pauses left out. legs: with a
    fill of one's own; payments: of funding.
    """

    why: str = ""
    state: State | None = None
    seq: int = 0
    hours: Decimal = ZERO
    legs: int = 0
    payments: int = 0

    @classmethod
    def of(cls, path: Path, network: str, account: str | None) -> "_Evidence":
        try:
            reader = Reader(str(path))
        except NoJournal:
            return cls(why=f"there is no journal {path.name}")
        except JournalRefused as refused:
            return cls(why=str(refused))
        try:
            return cls._read(reader, path, network, account)
        except JournalRefused as refused:
            return cls(why=str(refused))
        finally:
            reader.close()

    @classmethod
    def _read(
        cls, reader: Reader, path: Path, network: str, account: str | None
    ) -> "_Evidence":
        if reader.meta("network") != network:
            return cls(why=f"{path.name} is of {reader.meta('network')}, not of {network}")
        if account is not None and reader.meta("account") != account.lower():
            return cls(why=f"{path.name} is of another account")
        found = reader.state()
        if found is None:
            return cls(why=f"{path.name} has no tick")
        (legs,) = reader.rows("SELECT count(DISTINCT leg) FROM fills WHERE cloid IS NOT NULL")[0]
        (payments,) = reader.rows("SELECT count(*) FROM funding")[0]
        return cls(
            state=found[1],
            seq=found[0],
            hours=_hours(reader),
            legs=legs,
            payments=payments,
        )


def _hours(reader: Reader) -> Decimal:
    """Time that ticks under the present rules cover. Of many ticks one a minute is looked at: a
    journal of weeks has millions, each with all that it saw.
    """
    ends = [
        reader.rows(
            f"SELECT seq, venue_ms FROM ticks WHERE venue_ms IS NOT NULL ORDER BY seq {way} LIMIT 1"
        )
        for way in ("ASC", "DESC")
    ]
    if not ends[0]:
        return ZERO
    (first, began_ms), (last, last_ms) = ends[0][0], ends[1][0]
    each = max(1, (last - first) * SAMPLE_MS // max(1, last_ms - began_ms))
    (ms,) = reader.rows(
        "WITH RECURSIVE looked(at) AS "
        "(SELECT ? UNION ALL SELECT at + ? FROM looked WHERE at + ? <= ?) "
        "SELECT total(gap) FROM (SELECT venue_ms - lag(venue_ms) OVER (ORDER BY seq) AS gap "
        "FROM looked JOIN ticks ON seq = at WHERE venue_ms IS NOT NULL AND rules = ?) "
        "WHERE gap > 0 AND gap <= ?",
        first, each, each, last, RULES, GAP_MS_MAX,
    )[0]  # fmt: skip
    return (Decimal(int(ms)) / 3_600_000).quantize(Decimal("0.1"))


def _demo(seen: _Evidence) -> Rung:
    if seen.state is None:
        return Rung(name=DEMO_RUNG, found=seen.why, missing=("`carry demo` makes it",))
    state, missing = seen.state, []
    if any(c.perp_sz or not isinstance(c.phase, Idle) for c in state.carries.values()):
        missing.append("it did not end flat; run `carry demo` again")
    if not _explained(state):
        missing.append(f"its residual is {_usd(state.account.residual_usd)}, not 0")
    text = f"{seen.seq} ticks, residual {_usd(state.account.residual_usd)}"
    return Rung(name=DEMO_RUNG, found=text, missing=tuple(missing))


def _dry_run(seen: _Evidence) -> Rung:
    how = "`carry run --once --dry-run` on mainnet looks with this account"
    if seen.state is None:
        return Rung(name=DRY, found=seen.why, missing=(how,))
    if seen.state.protected_ms is None:
        return Rung(name=DRY, found="the account was never read whole", missing=(how,))
    return Rung(name=DRY, found=f"the account was read and decided on in {seen.seq} ticks")


def _paper(seen: _Evidence, policy: Policy) -> Rung:
    how = "`carry run --paper` on mainnet, and let it run"
    if seen.state is None:
        return Rung(name=ON_PAPER, found=seen.why, missing=(how,))
    missing = list(_ran(seen, PAPER_H))
    if not _explained(seen.state):
        missing.append(f"its residual is {_usd(seen.state.account.residual_usd)}, not 0")
    absent = [coin for coin in policy.coins if coin not in seen.state.carries]
    if absent:
        missing.append(f"it never looked at {', '.join(absent)}")
    return Rung(name=ON_PAPER, found=_text(seen), missing=(*missing, *_faults(seen.state)))


def _canary(seen: _Evidence) -> Rung:
    how = f"a run on mainnet with portfolio_notional_cap at most {show(CANARY_USD_MAX)}"
    if seen.state is None:
        return Rung(name=CANARY, found=seen.why, missing=(how,))
    missing = list(_ran(seen, CANARY_H))
    bound, residual = seen.state.policy.risk.residual_usd_max, seen.state.account.residual_usd
    if residual is None or abs(residual) > bound:
        missing.append(f"its residual is {_usd(residual)}, more than ${show(bound)}")
    return Rung(name=CANARY, found=_text(seen), missing=(*missing, *_faults(seen.state)))


def _explained(state: State) -> bool:
    """Every cent of a simulated account; what arithmetic leaves below a millionth is none."""
    residual = state.account.residual_usd
    return residual is not None and abs(residual) < MICRO_USD


def _ran(seen: _Evidence, hours: int) -> Iterator[str]:
    """What is missing of a run long enough to have entered, earned and been watched."""
    if seen.hours < hours:
        yield f"{show(seen.hours)} h of {hours} h were run under the present rules"
    if seen.legs < 2:
        yield "no carry was entered"
    if seen.payments < PAYMENTS_MIN:
        yield f"{seen.payments} of {PAYMENTS_MIN} payments of funding were booked"


def _faults(state: State) -> Iterator[str]:
    """What is open: a fault that holds, or an alert that nobody acknowledged."""
    for name, latch in state.latches.items():
        if name not in OWN_STOPS:
            yield f"latch {name} is not acknowledged ({latch.why}): `carry resume --ack {name}`"
    for name in state.faulty_ms:
        yield f"{name} is a fault and holds: `carry why`"
    for intent in state.intents.values():
        if intent.unknown:
            yield f"order #{intent.no} is undecided"
    for carry in state.carries.values():
        if carry.repair is not None:
            yield f"{carry.coin} is not hedged"


def _text(seen: _Evidence) -> str:
    assert seen.state is not None
    return (
        f"{show(seen.hours)} h, {seen.payments} payments, residual "
        f"{_usd(seen.state.account.residual_usd)}"
    )


def _usd(value: Decimal | None) -> str:
    return "unknown" if value is None else f"${show(value)}"
