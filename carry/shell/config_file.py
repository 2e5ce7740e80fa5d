"""config.yaml -> (`Policy`, `Wiring`), exactly, or one line that says what to change and where.

Nothing is guessed and nothing is ignored: a key that is misspelt, given twice, of the wrong type,
out of its bounds or at odds with another refuses the whole file.
"""

import difflib
import hashlib
import re
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Mapping_
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from carry.base.secrets import KINDS
from carry.core.policy import SECTIONS, Knob, MarketPolicy, Policy, knobs
from carry.core.relations import contradictions
from carry.venues.hyperliquid.constants import REST_URLS, WS_URLS, Network

from . import config_aster
from .scalars import Unreadable, read, shown, written
from .wiring import SecretRef, VenueWiring, Wiring
from .yaml_tree import Listing, Mapping, Node, NotATree, Scalar, grow

FILE_BYTES_MAX = 64 * 1024
MEMORY = ":memory:"
EMBEDDED_ONLY = ("seed", "speed", "market")
COIN = re.compile(r"k?[A-Z][A-Z0-9]{0,19}")


class ConfigError(Exception):
    """A config or a setting that is refused: one line, naming file, line, key, value and remedy."""


def load(path: Path, *, paper: bool = False) -> tuple[Policy, Wiring]:
    """Read and check a config file. Relative paths inside it mean its own folder.

    Raises:
        ConfigError: it cannot be read, or anything in it is refused.
    """
    if not path.exists():
        raise ConfigError(
            f"{path}: there is no such file; copy config.yaml.example to it, or use --config"
        )
    if not path.is_file():
        raise ConfigError(f"{path}: this is not a file")
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError(
            f"{path}: larger than {FILE_BYTES_MAX} bytes: this is not a config of carry"
        )
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8 text; save it as UTF-8") from None
    return parse(text, str(path), path.parent, paper=paper)


def lines_of(path: Path) -> Mapping_[str, int]:
    """Each key that a config file gives, with its line. The file is one that `load` takes."""
    reader = _Reader(str(path))
    _parse(path.read_text(encoding="utf-8"), reader, path.parent)
    return reader.lines


def parse(
    text: str, name: str = "config.yaml", folder: Path = Path(), *, paper: bool = False
) -> tuple[Policy, Wiring]:
    """The same for text at hand. name: the file's, for errors. folder: where its paths start."""
    return _parse(text, _Reader(name), folder, paper)


def _parse(
    text: str, reader: "_Reader", folder: Path, paper: bool = False
) -> tuple[Policy, Wiring]:
    name = reader.name
    try:
        root = grow(text)
    except NotATree as error:
        raise ConfigError(f"{name}:{error.line}: {error.clause}") from None
    if root is None:
        raise ConfigError(f"{name}:1: is empty; config.yaml.example shows every key")

    entries = reader.entries(root, "", TOP)
    policy_parts: dict[str, Any] = {}
    wiring_parts: dict[str, Any] = {}
    for key, node in entries.items():
        if key == "markets":
            policy_parts[key] = reader.markets(node)
        elif key in POLICY_FIELDS:
            policy_parts[key] = reader.field(POLICY_FIELDS[key], node, key)
        else:
            wiring_parts[key] = reader.field(WIRING_FIELDS[key], node, key)
    if "markets" not in entries:
        raise reader.refusal(
            1, "markets", "is missing; name the coins, as in [{base: HYPE}], or [] for none"
        )

    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    policy = Policy(**policy_parts, source=f"{Path(name).name} {digest}")
    wiring = Wiring(**wiring_parts)
    for key, sentence in (*contradictions(policy), *_at_odds(policy, wiring, reader.lines, paper)):
        raise reader.refusal(reader.line_of(key, sentence), key, sentence)
    return policy, _completed(wiring, folder)


def with_setting(policy: Policy, key: str, text: str, *, only_down: bool = False) -> Policy:
    """`policy` with one key changed, for `carry set` and the chat (only_down).

    key: with its section (risk.slice_usd) or alone (slice_usd).

    Raises:
        ConfigError: no such key, not changeable while running, or refused as in the file.
    """
    found = [
        (section, name, knob)
        for section in SECTIONS
        for name, knob, _ in knobs(type(getattr(policy, section)))
        if key in (name, f"{section}.{name}")
    ]
    if not found:
        raise ConfigError(f"{shown(key)}: no such key{_nearest(key, settable())}")
    section, name, knob = found[0]
    full = f"{section}.{name}"
    if knob.settable == "no":
        raise ConfigError(
            f"{full}: cannot be changed while the bot runs; change it in the config and start "
            "again. "
            f"Changeable are: {', '.join(settable())}"
        )
    try:
        value = read(knob, text)
    except Unreadable as error:
        raise ConfigError(f"{full}: {error}") from None
    before = getattr(getattr(policy, section), name)
    if only_down and knob.settable == "down" and value > before:
        raise ConfigError(
            f"{full}: {text} is above {written(knob, before)}, the value in force; from the chat "
            "it can only "
            "be lowered. Raise it with `carry set` on the machine"
        )
    changed = attrs.evolve(
        policy, **{section: attrs.evolve(getattr(policy, section), **{name: value})}
    )
    for contradicted, sentence in contradictions(changed):
        raise ConfigError(f"{contradicted}: {sentence}")
    return changed


def settable() -> tuple[str, ...]:
    """Every key that may be changed while the bot runs."""
    return tuple(
        f"{section}.{name}"
        for section in SECTIONS
        for name, knob, _ in knobs(type(getattr(DEFAULTS, section)))
        if knob.settable != "no"
    )


DEFAULTS = Policy()
POLICY_FIELDS = {field.name: field for field in attrs.fields(Policy) if field.name in SECTIONS}
WIRING_FIELDS = {field.name: field for field in attrs.fields(Wiring)}
TOP = (*POLICY_FIELDS, "markets", *WIRING_FIELDS)


def _sections() -> Iterator[tuple[str, Any]]:
    """Every section of the file with its class, nested ones too."""
    for name, field in (*POLICY_FIELDS.items(), *WIRING_FIELDS.items()):
        if _is_section(field):
            yield name, field.type
            section: Any = field.type
            for inner in attrs.fields(section):
                if _is_section(inner):
                    yield f"{name}.{inner.name}", inner.type
    yield "markets", MarketPolicy


def _is_section(field: Any) -> bool:
    return isinstance(field.type, type) and attrs.has(field.type)


def _nearest(key: str, known: Iterable[str]) -> str:
    """What was probably meant, as the end of a sentence."""
    known = tuple(known)
    close = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]}?"
    name = key.rpartition(".")[2]
    for section, cls in _sections():
        if any(field.name == name for field in attrs.fields(cls)):
            return f"; {name} belongs under {section}"
    everywhere = {
        field.name: section for section, cls in _sections() for field in attrs.fields(cls)
    } | dict.fromkeys(TOP, "")
    close = difflib.get_close_matches(name.lower(), everywhere, n=1, cutoff=0.65)
    if close:
        section = everywhere[close[0]]
        return f"; the nearest is {close[0]}" + (f" under {section}" if section else "")
    return f"; known here: {', '.join(known)}"


class _Reader:
    """Reads one file. `lines`: where each key that the file gives stands."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[str, int] = {}

    def refusal(self, line: int, key: str, clause: str) -> ConfigError:
        return ConfigError(
            f"{self.name}:{line}: {key}: {clause}" if key else f"{self.name}:{line}: {clause}"
        )

    def line_of(self, key: str, sentence: str) -> int:
        """The line of `key`; if it is not in the file, of a key that the sentence names, or of the
        section that it is missing from.
        """
        if key in self.lines:
            return self.lines[key]
        sections = dict(_sections())
        named = [
            line
            for given, line in self.lines.items()
            if given not in sections
            and re.search(rf"\b{re.escape(given.rpartition('.')[2])}\b", sentence)
        ]
        return max(named, default=self.lines.get(key.partition(".")[0], 1))

    def entries(self, node: Node, key: str, known: tuple[str, ...]) -> dict[str, Node]:
        """Keys of a mapping, each known and given once. A section with nothing in it is empty."""
        if isinstance(node, Scalar) and not node.quoted and node.text in ("", "~", "null"):
            return {}
        if not isinstance(node, Mapping):
            said = shown(node.text) if isinstance(node, Scalar) else "a list"
            example = " (write venue: {name: embedded})" if key == "venue" else ""
            raise self.refusal(
                node.line, key, f"is {said}, but takes keys: {', '.join(known)}{example}"
            )
        found: dict[str, Node] = {}
        first: dict[str, int] = {}
        for name, value in node.entries:
            full = f"{key}.{name.text}" if key else name.text
            if name.text not in known:
                where = full if len(full) <= 60 and full.isprintable() else shown(full)
                raise self.refusal(name.line, where, f"no such key{_nearest(name.text, known)}")
            if name.text in found:
                raise self.refusal(
                    name.line,
                    full,
                    f"is given twice (first on line {first[name.text]}); keep one of them",
                )
            found[name.text] = value
            first[name.text] = name.line
            self.lines[full] = name.line
        return found

    def field(self, field: Any, node: Node, key: str) -> Any:
        """The value of one field of a section: a section in it, a secret's reference, a scalar."""
        if _is_section(field):
            fields = {inner.name: inner for inner in attrs.fields(field.type)}
            entries = self.entries(node, key, tuple(fields))
            return field.type(
                **{
                    name: self.field(fields[name], child, f"{key}.{name}")
                    for name, child in entries.items()
                }
            )
        knob: Knob = field.metadata["knob"]
        if knob.kind == "secret":
            return self.secret(node, key)
        if knob.kind == "ids" and isinstance(node, Listing):
            return tuple(
                number for item in node.items for number in self.field(field, item, key)
            )
        if not isinstance(node, Scalar):
            said = "a list" if isinstance(node, Listing) else "a set of keys"
            raise self.refusal(node.line, key, f"is {said}, but takes one value ({knob.why})")
        try:
            return read(knob, node.text, node.quoted)
        except Unreadable as error:
            raise self.refusal(node.line, key, str(error)) from None

    def secret(self, node: Node, key: str) -> SecretRef:
        """A reference. What stands there instead is never repeated: it may be the secret itself."""
        forms = ", ".join("{" + kind + ": ...}" for kind in KINDS)
        if not isinstance(node, Mapping):
            raise self.refusal(
                node.line,
                key,
                f"holds a value (not shown) where a reference belongs: write one of {forms}",
            )
        if len(node.entries) != 1 or node.entries[0][0].text not in KINDS:
            raise self.refusal(
                node.line, key, f"is not a reference to a secret: write one of {forms}"
            )
        kind, value = node.entries[0]
        if not isinstance(value, Scalar) or not value.text.strip() or not value.text.isprintable():
            raise self.refusal(
                value.line, f"{key}.{kind.text}", f"names nothing; write one of {forms}"
            )
        if kind.text == "env" and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value.text):
            raise self.refusal(
                value.line,
                f"{key}.env",
                "is not the name of an environment variable (not shown, it may be the secret "
                "itself)",
            )
        return SecretRef(kind.text, value.text)

    def markets(self, node: Node) -> tuple[MarketPolicy, ...]:
        """The list of coins. A bare coin is refused, so that there is one way to write it."""
        if not isinstance(node, Listing):
            raise self.refusal(
                node.line, "markets", "is not a list; write it like [{base: HYPE}, {base: BTC}]"
            )
        fields = {field.name: field for field in attrs.fields(MarketPolicy)}
        found: list[MarketPolicy] = []
        for number, item in enumerate(node.items):
            key = f"markets[{number}]"
            if isinstance(item, Scalar):
                raise self.refusal(
                    item.line, key, f"is {shown(item.text)}; write {{base: {item.text[:20]}}}"
                )
            entries = self.entries(item, key, tuple(fields))
            base = entries.pop("base", None)
            if not isinstance(base, Scalar):
                raise self.refusal(item.line, key, "names no coin; write {base: HYPE}")
            if not COIN.fullmatch(base.text):
                raise self.refusal(
                    base.line,
                    f"{key}.base",
                    f"{shown(base.text)} is not a coin as the venue names it, like HYPE",
                )
            rest = {
                name: self.field(fields[name], child, f"{key}.{name}")
                for name, child in entries.items()
            }
            found.append(MarketPolicy(base=base.text, **rest))
        return tuple(found)


def _at_odds(
    policy: Policy, wiring: Wiring, given: Iterable[str], paper: bool
) -> Iterator[tuple[str, str]]:
    """Relations of the wiring that do not hold, as (key, sentence). paper: needs no account."""
    venue, account = wiring.venue, wiring.account
    given = tuple(given)
    if venue.embedded:
        for name in ("network", "base_url", "ws_url"):
            if getattr(venue, name) is not None:
                yield (
                    f"venue.{name}",
                    "does not go with the embedded exchange, which is made and found by the bot "
                    "itself; "
                    "take it out, or name a real venue",
                )
        for name in ("address", "agent_key"):
            if getattr(account, name) is not None:
                yield (
                    f"account.{name}",
                    "does not go with the embedded exchange: play money needs no account, and a "
                    "real key "
                    "has no business there; take it out, or name a real venue",
                )
    else:
        if venue.network is None:
            yield (
                "venue.network",
                f"is missing for {venue.name}; write network: testnet or network: mainnet (real "
                "money)",
            )
        for name in EMBEDDED_ONLY:
            if f"venue.{name}" in given:
                yield (
                    f"venue.{name}",
                    f"is only for the embedded exchange, not for {venue.name}; take it out",
                )
        if account.address is None and not paper:
            yield (
                "account.address",
                f"is missing: {venue.name} trades the money of an account; write its 0x address",
            )
        if wiring.journal.path == MEMORY:
            yield (
                "journal.path",
                ":memory: would forget what is open when the bot ends, and the venue would not; "
                "name a file",
            )
        yield from _wrong_network(venue)
    yield from config_aster.at_odds(venue, account)
    if (wiring.telegram.token is None) != (not wiring.telegram.chat_ids):
        missing = "token" if wiring.telegram.token is None else "chat_ids"
        yield (
            f"telegram.{missing}",
            "is missing: token and chat_ids are given together or not at all",
        )
    if wiring.min_tick_ms > wiring.interval_ms:
        yield (
            "min_tick_ms",
            f"{wiring.min_tick_ms} is above interval_ms {wiring.interval_ms}: no tick would ever "
            "be in time",
        )
    if wiring.interval_ms > policy.risk.quote_age_ms_max:
        yield (
            "interval_ms",
            f"{wiring.interval_ms} is above risk.quote_age_ms_max "
            f"{policy.risk.quote_age_ms_max}: every price "
            "would be too old to trade on",
        )


def _wrong_network(venue: VenueWiring) -> Iterator[tuple[str, str]]:
    """An address of one network beside the other's name: signed for one, sent to the other."""
    if venue.name != "hyperliquid" or venue.network is None:
        return
    for network in Network:
        hosts = [urlsplit(urls[network]).hostname for urls in (REST_URLS, WS_URLS)]
        for name in ("base_url", "ws_url"):
            url = getattr(venue, name)
            if network.value != venue.network and url and urlsplit(url).hostname in hosts:
                yield (
                    f"venue.{name}",
                    f"{url} is the {network.value}, but network is {venue.network}; make them "
                    "agree",
                )


def _completed(wiring: Wiring, folder: Path) -> Wiring:
    """Addresses that follow from the network, and paths from the config's folder."""
    venue, account = wiring.venue, wiring.account
    if venue.name == "hyperliquid":
        network = Network(venue.network)
        base_url = venue.base_url or REST_URLS[network]
        ws_url = venue.ws_url
        if ws_url is None:
            # "http" -> "ws" and "https" -> "wss", at the same host.
            ws_url = (
                "ws" + base_url.removeprefix("http") + "/ws" if venue.base_url else WS_URLS[network]
            )
        venue = attrs.evolve(venue, base_url=base_url, ws_url=ws_url)
    venue = config_aster.completed(venue)
    if venue.market != "seeded":
        venue = attrs.evolve(venue, market=_path(venue.market, folder))
    journal = wiring.journal
    if journal.path is not None and journal.path != MEMORY:
        journal = attrs.evolve(journal, path=_path(journal.path, folder))
    return attrs.evolve(
        wiring,
        venue=venue,
        journal=journal,
        account=attrs.evolve(
            account,
            agent_key=_placed(account.agent_key, folder),
            api_key=_placed(account.api_key, folder),
            api_secret=_placed(account.api_secret, folder),
        ),
        telegram=attrs.evolve(wiring.telegram, token=_placed(wiring.telegram.token, folder)),
        alerts=attrs.evolve(wiring.alerts, webhook=_placed(wiring.alerts.webhook, folder)),
        history=attrs.evolve(wiring.history, dsn=_placed(wiring.history.dsn, folder)),
    )


def _placed(ref: SecretRef | None, folder: Path) -> SecretRef | None:
    if ref is None or ref.kind not in ("file", "keystore"):
        return ref
    return SecretRef(ref.kind, _path(ref.name, folder))


def _path(text: str, folder: Path) -> str:
    return str((folder / Path(text).expanduser()).absolute())
