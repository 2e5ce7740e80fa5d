"""One file to pass on: it replays elsewhere, and nothing secret is in any text of it."""

import enum
import gzip
import json
import shutil
import sqlite3
import subprocess
import sys
import types
import typing
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
from click.testing import CliRunner

from carry.cli.main import carry
from carry.core.actions import Action
from carry.core.asked import Rejected
from carry.core.observations import Fault, NotSent, Observations, Refused
from carry.core.state import RULES, State
from carry.research import bundle, past, replay
from carry.research.redact import StandIns
from carry.shell.journal import Journal
from carry.shell.reader import Reader

ADDRESS = "0x" + "5aD0" * 10
CANARIES = {
    "key": "0x" + "c0ffee11" * 8,
    "bare key": "badc0de5" * 8,
    "token": "123456789:" + "AAE1bcd2-efg_3" * 2 + "hijklmn",
    "api token": "sk_live_9f8e7d6c5b4a39281706",
    "dsn": "postgresql://carry:hunter2pass@db.example.net:5432/carry",
    "kv dsn": "host=db.example.net dbname=carry password=hunter2pass",
    "url": "https://hooks.example.com/services/T0/B0/x",
    "address": ADDRESS,
    "mail": "joe.operator@example.com",
    "path": "/srv/joe/keys/agent.json",
    "ip": "203.0.113.7:8080",
}
# Pieces that must not be found even when the rest of the text around them was taken out.
PIECES = [*CANARIES.values(), "hunter2pass", "db.example.net", "hooks.example.com", ADDRESS[2:]]


def held_by(content: bytes) -> list[str]:
    low = content.lower()
    return [piece for piece in PIECES if piece.lower().encode() in low]


def example(kind: Any, text: str) -> Any:
    """A value of a type with `text` in every text field of it, however deep."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is str:
        return text
    if kind in (int, bool, Decimal):
        return kind(1)
    if kind is type(None):
        return None
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return next(iter(kind))
    if isinstance(kind, type) and attrs.has(kind):
        attrs.resolve_types(kind)
        return kind(**{f.alias: example(f.type, text) for f in attrs.fields(kind) if f.init})
    if origin in (typing.Union, types.UnionType):
        return example(next(a for a in args if a is not type(None)), text)
    if origin is tuple and args[1:] == (Ellipsis,):
        members = typing.get_args(args[0]) if not isinstance(args[0], type) else ()
        return tuple(example(member, text) for member in members or (args[0],))
    if origin is tuple:
        return tuple(example(arg, text) for arg in args)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {example(args[0], text): example(args[1], text)}
    raise AssertionError(f"no example of {kind}")


@pytest.mark.parametrize("name", CANARIES)
@pytest.mark.parametrize("sentence", ["{}", "refused: {} is not known, try again"])
def test_every_text_field_of_every_document_is_clean(name: str, sentence: str) -> None:
    canary = sentence.format(CANARIES[name])
    for kind, codec in (
        (Observations, past.OBSERVATIONS),
        (State, past.STATE),
        (tuple[Action, ...], past.ACTIONS),
    ):
        text = codec.encode(example(kind, canary))
        assert CANARIES[name].encode() in text
        document = StandIns(7).document(msgspec.json.decode(text))
        clean = msgspec.json.encode(document)
        assert CANARIES[name].encode() not in clean
        assert not held_by(clean)
        codec.decode(clean)


def test_the_same_text_has_one_stand_in_and_what_decides_stays() -> None:
    stand_ins = StandIns(0xABC)
    own = f"0x{0xABC:016x}{5:016x}"
    for text in ("HYPE", "0.0000179799385913", "1767623711756", "liquidation_HYPE_nearer", own):
        assert stand_ins.text(text) == text
    assert stand_ins.text(f"transfer:{ADDRESS}") == stand_ins.text(f"transfer:{ADDRESS}")
    assert stand_ins.text(ADDRESS) != stand_ins.text(CANARIES["key"])
    assert stand_ins.document({"by": "joe"}) == {"by": stand_ins.document({"by": "joe"})["by"]}
    assert "joe" not in str(stand_ins.document([{"by": "joe"}]))


def rewritten(journal: str, path: Path) -> None:
    """The journal again, with canaries where operators, the venue and faults speak."""
    reader = Reader(journal)
    begin = past.start(reader)
    assert begin is not None
    state = attrs.evolve(
        begin.state, policy=attrs.evolve(begin.state.policy, source="/etc/carry/joe.yaml 77")
    )
    target = Journal.open(str(path), network="mainnet", account=ADDRESS)
    target.begin(state, state.journal_id)
    canaries = list(CANARIES.values())
    for number, it in enumerate(past.decided(reader, begin)):
        obs = it.observations
        text = f"no: {canaries[number % len(canaries)]} failed"
        if number in (20, 21, 22):
            said = Rejected(command_id=900 + number, by=text, what=text, why=text)
            obs = attrs.evolve(obs, commands=(said,), gaps=(text,))
        if number == 23:
            obs = attrs.evolve(obs, faults=(Fault(name="policy_check", text=" ".join(canaries)),))
        if 24 <= number < 60:
            whys = (Refused(intent=1, code="other", text=text), NotSent(intent=2, why=text))
            obs = attrs.evolve(obs, outcomes=(*obs.outcomes, *whys))
        state, actions = past.step(state, obs)
        target.commit(obs, state, actions)
        if number == 60:
            break
    target.close()
    reader.close()


def test_a_bundle_replays_elsewhere_and_holds_no_canary(stormy: str, tmp_path: Path) -> None:
    path, out = tmp_path / "canaries.db", tmp_path / "report.gz"
    rewritten(stormy, path)
    assert len(held_by(path.read_bytes())) == len(PIECES)

    made = bundle.bundle(str(path), out, 10, 60, secrets=(ADDRESS,))
    content = gzip.decompress(out.read_bytes())
    assert not held_by(content)
    assert not held_by(out.read_bytes())
    assert b"joe" not in content
    assert made.replaced > len(CANARIES)
    assert (made.found.exit_code, made.again.exit_code, made.altered) == (0, 0, 0)

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path.unlink()
    shutil.move(out, elsewhere / "report.gz")
    done = subprocess.run(
        [sys.executable, "-m", "carry", "replay", str(elsewhere / "report.gz")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "51 ticks, 0 differences"), done.stderr
    facts = bundle.described(str(elsewhere / "report.gz"))
    assert facts is not None
    assert (facts["first"], facts["last"], facts["rules"]) == (10, 60, RULES)


def test_decisions_and_books_are_those_of_the_journal(stormy: str, tmp_path: Path) -> None:
    out = tmp_path / "report.gz"
    bundle.bundle(stormy, out, 1, 80)
    with bundle.opened(str(out)) as plain:
        for sql in (
            "SELECT seq, mono_ms, venue_ms, rules FROM ticks WHERE seq <= 80 ORDER BY seq",
            "SELECT trade_id, px, sz, fee, cloid FROM fills WHERE seq <= 80 ORDER BY trade_id",
        ):
            one, other = (sqlite3.connect(name) for name in (stormy, plain))
            assert one.execute(sql).fetchall() == other.execute(sql).fetchall()
            one.close()
            other.close()
        assert replay.replay(plain).decisions == replay.replay(stormy, 1, 80).decisions > 10


def test_a_fault_is_bundled_as_a_fault(
    stormy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not replay here must not replay there: it may be what is reported."""
    path, out = str(shutil.copy(stormy, tmp_path / "carry.db")), tmp_path / "report.gz"
    db = sqlite3.connect(path)
    db.execute("UPDATE ticks SET digest = 'x' || substr(digest, 2) WHERE seq = 40")
    db.commit()
    db.close()
    made = bundle.bundle(path, out, 30, 60)

    assert (made.found.exit_code, made.again.exit_code) == (1, 1)
    with bundle.opened(str(out)) as plain:
        assert replay.replay(plain).text.startswith("tick 40: another state")


def test_known_secrets_are_looked_for_byte_by_byte(stormy: str, tmp_path: Path) -> None:
    out = tmp_path / "report.gz"
    with pytest.raises(bundle.Leaks):
        bundle.bundle(stormy, out, 1, 20, secrets=("protected",))
    assert not out.exists()


def test_the_command_refuses_to_write_over_a_file(stormy: str, tmp_path: Path) -> None:
    out = tmp_path / "report.gz"
    words = ["bundle", "--state-db", stormy, "-o", str(out), "--from", "100", "--to", "120"]
    done = CliRunner().invoke(carry, [*words, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["replays_there"] == 0
    again = CliRunner().invoke(carry, words)
    assert again.exit_code == 2
    assert "is there already" in again.output
