"""The config: what is read, and every way in which one is refused, each with one clear line."""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from carry.cli.main import main
from carry.core.num import show
from carry.core.policy import SECTIONS, Knob, MarketPolicy, Policy
from carry.core.relations import contradictions
from carry.shell import config_docs
from carry.shell.config_file import (
    FILE_BYTES_MAX,
    POLICY_FIELDS,
    WIRING_FIELDS,
    ConfigError,
    load,
    parse,
    settable,
    with_setting,
)
from carry.shell.scalars import WHOLE
from carry.shell.wiring import SecretRef, Wiring

ROOT = Path(__file__).resolve().parents[2]
D = Decimal
MARKETS = "markets: [{base: HYPE}]\n"
LIVE = (
    "venue: {name: hyperliquid, network: testnet}\n"
    "account: {address: 0x00000000000000000000000000000000000000aA}\n"
)
KEY_64 = "0x" + "c0ffee42" * 8


def refusal(text: str) -> str:
    """The line a config is refused with; it must be one line, and name file and line."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    said = str(caught.value)
    assert "\n" not in said
    assert re.match(r"config\.yaml:[1-9][0-9]*: ", said), said
    return said


# --- what is read ------------------------------------------------------------------------------


def test_the_example_equals_the_defaults() -> None:
    policy, wiring = load(ROOT / "config.yaml.example")

    assert policy.markets == config_docs.EXAMPLE_MARKETS
    assert attrs.evolve(policy, markets=(), source="defaults") == Policy()
    assert wiring == Wiring()


def test_the_example_names_every_key() -> None:
    text = (ROOT / "config.yaml.example").read_text()
    for name, field in {**POLICY_FIELDS, **WIRING_FIELDS}.items():
        assert re.search(rf"^{name}:", text, re.M), name
        if "knob" not in field.metadata:
            for full, _, _ in config_docs.keys(name, field.type):
                assert re.search(rf"^ +#?{full.rpartition('.')[2]}:", text, re.M), full


def test_each_key_that_is_left_out_by_default_can_be_given_as_the_example_shows() -> None:
    """Take the "#" away from one line at a time: it must be read, or refused for a reason."""
    lines = (ROOT / "config.yaml.example").read_text().splitlines()
    optional = [number for number, line in enumerate(lines) if re.match(r" +#[a-z_]+:", line)]
    assert len(optional) == len(config_docs.SAMPLES)
    for number in optional:
        changed = [*lines]
        changed[number] = lines[number].replace("#", "", 1)
        try:
            parse("\n".join(changed))
        except ConfigError as error:
            assert "embedded exchange" in str(error) or "given together" in str(error), error


def test_the_written_files_are_what_the_keys_make() -> None:
    """If this fails: `make config-docs`, and read the difference."""
    assert (ROOT / "config.yaml.example").read_text() == config_docs.example()
    assert (ROOT / "docs" / "CONFIGURATION.md").read_text() == config_docs.page()


def test_the_small_trial_loads_and_is_small() -> None:
    policy, wiring = load(ROOT / "examples" / "small-trial.yaml")

    assert policy.coins == ("BTC",)
    assert policy.strategy.target_usd_notional == 50
    assert policy.risk.portfolio_notional_cap <= 60
    assert policy.risk.slice_usd <= 25
    assert (wiring.venue.name, wiring.venue.network) == ("hyperliquid", "testnet")
    assert wiring.account.agent_key == SecretRef("env", "CARRY_AGENT_KEY")


@pytest.mark.parametrize(
    "text, value",
    [
        ("2%", "0.02"),
        ("'2%'", "0.02"),
        ("2 %", "0.02"),
        ("0.5%", "0.005"),
        ("10%", "0.1"),
        ("0.02", "0.02"),
        ("0.020", "0.02"),
        ("1.9", "1.9"),
        ("190%", "1.9"),
    ],
)
def test_rates_are_read_exactly_and_in_one_form(text: str, value: str) -> None:
    policy, _ = parse(MARKETS + f"strategy: {{enter_threshold_apr: {text}}}")

    assert str(policy.strategy.enter_threshold_apr) == value


def test_numbers_are_exact_decimals() -> None:
    policy, _ = parse(
        "markets: [{base: HYPE, reserve_sz: 0.1}]\n"
        "risk: {slice_usd: 100.10}\n"
        "strategy: {hedge_ratio: 1.0123456789012345, exit_threshold_apr: -5%}\n"
    )

    assert policy.reserve_of("HYPE") == D("0.1")
    assert str(policy.risk.slice_usd) == "100.1"
    assert policy.strategy.hedge_ratio == D("1.0123456789012345")
    assert policy.strategy.exit_threshold_apr == D("-0.05")


def test_no_float_comes_out() -> None:
    policy, wiring = load(ROOT / "config.yaml.example")

    def leaves(value: Any) -> Iterator[Any]:
        if attrs.has(type(value)):
            for field in attrs.fields(type(value)):
                yield from leaves(getattr(value, field.name))
        elif isinstance(value, tuple):
            for item in value:
                yield from leaves(item)
        else:
            yield value

    assert not [leaf for leaf in (*leaves(policy), *leaves(wiring)) if isinstance(leaf, float)]


def test_words_of_yaml_are_only_words_here() -> None:
    """`ON` is a coin and `Ioc` a time in force, whatever YAML makes of them."""
    policy, _ = parse("markets: [{base: ON}, {base: kPEPE}]\nexecution: {hedge_repair_tif: Ioc}")

    assert policy.coins == ("ON", "kPEPE")
    assert policy.execution.hedge_repair_tif == "ioc"


def test_a_section_with_every_key_commented_out_is_empty() -> None:
    policy, _ = parse(MARKETS + "fees:\n  #perp_taker: 0.045%\nrisk: {}\n")

    assert attrs.evolve(policy, markets=(), source="defaults") == Policy()


def test_no_market_means_only_winding_down() -> None:
    assert parse("markets: []")[0].markets == ()


def test_source_names_the_file_and_its_content() -> None:
    one, other = parse(MARKETS)[0].source, parse(MARKETS + "# a note\n")[0].source

    assert re.fullmatch(r"config\.yaml [0-9a-f]{12}", one)
    assert one != other


@pytest.mark.parametrize(
    "venue, base_url, ws_url",
    [
        (
            "network: mainnet",
            "https://api.hyperliquid.xyz",
            "wss://api.hyperliquid.xyz/ws",
        ),
        (
            "network: testnet",
            "https://api.hyperliquid-testnet.xyz",
            "wss://api.hyperliquid-testnet.xyz/ws",
        ),
        (
            'network: testnet, base_url: "http://127.0.0.1:8080/"',
            "http://127.0.0.1:8080",
            "ws://127.0.0.1:8080/ws",
        ),
        (
            'network: mainnet, base_url: "https://node.example", ws_url: "wss://stream.example/ws"',
            "https://node.example",
            "wss://stream.example/ws",
        ),
    ],
)
def test_addresses_follow_from_the_network(venue: str, base_url: str, ws_url: str) -> None:
    account = "account: {address: 0x00000000000000000000000000000000000000aA}\n"
    _, wiring = parse(f"{MARKETS}{account}venue: {{name: hyperliquid, {venue}}}\n")

    assert (wiring.venue.base_url, wiring.venue.ws_url) == (base_url, ws_url)
    assert wiring.account.address == "0x00000000000000000000000000000000000000aa"


def test_paths_start_at_the_configs_folder(tmp_path: Path) -> None:
    file = tmp_path / "bot.yaml"
    file.write_text(
        MARKETS
        + LIVE.replace("}\naccount", "}\naccount").replace(
            "aA}", "aA, agent_key: {file: keys/agent.key}}"
        )
        + "journal: {path: state/carry.db}\n"
        "telegram: {token: {file: /etc/carry/token}, chat_ids: [100123, 7]}\n"
        "history: {dsn: {env: CARRY_DSN}}\n"
    )
    _, wiring = load(file)

    assert wiring.journal.path == str(tmp_path / "state" / "carry.db")
    assert wiring.account.agent_key == SecretRef("file", str(tmp_path / "keys" / "agent.key"))
    assert wiring.telegram.token == SecretRef("file", "/etc/carry/token")
    assert wiring.telegram.chat_ids == (100123, 7)
    assert wiring.history.dsn == SecretRef("env", "CARRY_DSN")


# --- what is refused: each class of error ------------------------------------------------------

BAD = [
    # The file itself.
    ("", "config.yaml:1: is empty; config.yaml.example shows every key"),
    ("# only a note\n", "config.yaml:1: is empty"),
    ("HYPE\n", "config.yaml:1: is HYPE, but takes keys: strategy"),
    ("- {base: HYPE}\n", "config.yaml:1: is a list, but takes keys"),
    ("markets: [\n", "is not YAML"),
    ("markets: []\n\tstrategy: {}\n", "config.yaml:2: is not YAML"),
    ("markets: []\nrisk: {slice_usd: %5}\n", "config.yaml:2: is not YAML"),
    ("markets: []\nrisk: {slice_usd: \x00}\n", "2: holds a character that text files do not have"),
    ("markets: []\n---\nrisk: {}\n", "begins a second document"),
    ("markets: []\nrisk: &r {slice_usd: 30}\nfees: *r\n", "2: uses an anchor or alias"),
    ("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "1: uses an anchor or alias"),
    ("markets: []\nrisk: {<<: {slice_usd: 30}}\n", "risk.<<: no such key"),
    ("markets: []\nrisk: {slice_usd: !!float 30}\n", "2: uses a tag"),
    ("markets: !!python/object:os.system []\n", "1: uses a tag"),
    ("markets: " + "[" * 9 + "]" * 9 + "\n", "1: is nested deeper than 8 levels"),
    ("? [a]\n: 1\n", "1: has a key that is not a word"),
    ("strategy: {}\n", "1: markets: is missing; name the coins"),
    # Keys.
    (MARKETS + "stratgy: {}\n", "2: stratgy: no such key; did you mean strategy?"),
    (MARKETS + "strategy: {delta_bnad_usd: 5}\n", "did you mean delta_band_usd?"),
    (MARKETS + "strategy: {slice_usd: 50}\n", "no such key; slice_usd belongs under risk"),
    (MARKETS + "strategy: {window: 50}\n", "window belongs under strategy.volatility"),
    (MARKETS + "target_usd_notional: 50\n", "target_usd_notional belongs under strategy"),
    (MARKETS + "alignment: {zzz: 1}\n", "zzz: no such key; known here: enabled, mode, min_diff"),
    (MARKETS + "strategy: {volatility: {windw: 9}}\n", "strategy.volatility.windw: no such key"),
    (MARKETS + "risk:\n  slice_usd: 30\n  slice_usd: 40\n", "is given twice (first on line 3)"),
    (MARKETS + "markets: []\n", "2: markets: is given twice (first on line 1)"),
    (MARKETS + "fees: {}\nrisk: {}\nfees: {}\n", "4: fees: is given twice (first on line 2)"),
    # Numbers as YAML would misread them.
    (
        MARKETS + "risk: {slice_usd: 1e3}\n",
        "1e3 has an exponent, which YAML reads as text; write 1000",
    ),
    (MARKETS + "risk: {max_funding_rate: 1e-4}\n", "write 0.0001"),
    (
        MARKETS + "risk: {slice_usd: 0012}\n",
        "0012 begins with 0, which YAML reads as octal; write 12",
    ),
    (MARKETS + "risk: {slice_usd: 12:30}\n", "12:30 is a time of day, which YAML reads in base 60"),
    (MARKETS + "risk: {slice_usd: no}\n", "no is a yes or no, not a number"),
    (MARKETS + "risk: {slice_usd: 1_000}\n", "1_000 has separators or a plus sign; write 1000"),
    (MARKETS + "risk: {slice_usd: +100}\n", "write 100"),
    (MARKETS + "risk: {slice_usd: 0x64}\n", "0x64 is not a decimal number"),
    (MARKETS + "risk: {slice_usd: .inf}\n", ".inf is not a finite number"),
    (MARKETS + "risk: {slice_usd: .nan}\n", ".nan is not a finite number"),
    (MARKETS + "risk: {slice_usd: .5}\n", ".5 is not a number"),
    (MARKETS + "risk: {slice_usd: '100'}\n", '"100" is text because of its quotes; write 100'),
    (MARKETS + "risk: {slice_usd: $100}\n", "always in USD: write the number alone"),
    (MARKETS + "risk: {slice_usd: 5%}\n", "always in USD: write the number alone"),
    (MARKETS + "risk: {slice_usd: much}\n", "much is not a number"),
    (MARKETS + "risk: {slice_usd: }\n", "has no value; give one, or take the line out"),
    (MARKETS + "risk: {slice_usd: ~}\n", "has no value; give one, or take the line out"),
    (MARKETS + "risk: {slice_usd: [100]}\n", "is a list, but takes one value"),
    (MARKETS + "risk: {slice_usd: {usd: 100}}\n", "is a set of keys, but takes one value"),
    (MARKETS + "execution: {entry_timeout_ms: 5s}\n", "always in ms: write the number alone"),
    (MARKETS + "execution: {entry_timeout_ms: 1500.5}\n", "1500.5 is not a whole number of ms"),
    (MARKETS + "execution: {entry_timeout_ms: 2000.0}\n", "2000.0 is not a whole number of ms"),
    (MARKETS + "execution: {perp_cross: yes}\n", "yes is not true or false"),
    (MARKETS + "execution: {perp_cross: 'true'}\n", "is not true or false"),
    (MARKETS + "execution: {hedge_repair_tif: fok}\n", "fok is not one of: ioc, gtc"),
    # Rates.
    (
        MARKETS + "strategy: {enter_threshold_apr: 10}\n",
        "config.yaml:2: strategy.enter_threshold_apr: 10 can be read as 10 % (then write 10%) or "
        "as "
        "the fraction 10, which is 1000 % (then write 1000%)",
    ),
    (MARKETS + "strategy: {enter_threshold_apr: -2}\n", "-2 can be read as -2 %"),
    (
        MARKETS + "strategy: {enter_threshold_apr: 200%}\n",
        "200% is above 190%; allowed is 0% to 190%",
    ),
    (MARKETS + "strategy: {enter_threshold_apr: two%}\n", "two% is not a percentage"),
    (MARKETS + "strategy: {enter_threshold_apr: 1e1%}\n", "1e1% is not a percentage"),
    # Bounds.
    (
        MARKETS + "strategy: {hedge_ratio: 1.2}\n",
        "strategy.hedge_ratio: 1.2 is above 1.05; allowed is 0.95 to 1.05 (short as a multiple",
    ),
    (MARKETS + "strategy: {target_usd_notional: 19.99}\n", "19.99 is below 20; allowed is 20 to"),
    (MARKETS + "strategy: {target_usd_notional: -5}\n", "-5 is below 20"),
    # Relations.
    (
        MARKETS + "strategy: {exit_threshold_apr: 2%}\n",
        "strategy.exit_threshold_apr: 0.02 must be below enter_threshold_apr 0.01",
    ),
    (MARKETS + "risk:\n  per_symbol_notional_cap: 500\n", "config.yaml:3: strategy.target_usd_not"),
    (MARKETS + "risk: {portfolio_notional_cap: 1500}\n", "risk.per_symbol_notional_cap: 2000 is"),
    (MARKETS + "strategy: {min_exposure_usd: 300}\n", "no slice could be traded"),
    (MARKETS + "strategy: {delta_band_usd: 2000}\n", "the hedge would never be kept"),
    (MARKETS + "execution: {hedge_repair_stage_ms: 6000}\n", "given up before it widens"),
    (MARKETS + "execution: {perp_cross: false}\n", "isolated margin) is refused for now"),
    (MARKETS + "risk: {skew_ms_warn: 6000}\n", "6000 is above skew_ms_max 5000"),
    # Markets.
    ("markets: HYPE\n", "1: markets: is not a list; write it like [{base: HYPE}"),
    ("markets: [HYPE]\n", "1: markets[0]: is HYPE; write {base: HYPE}"),
    ("markets: [{reserve_sz: 1}]\n", "1: markets[0]: names no coin; write {base: HYPE}"),
    ("markets: [{base: [HYPE]}]\n", "1: markets[0]: names no coin"),
    ("markets: [{base: hype}]\n", "markets[0].base: hype is not a coin as the venue names it"),
    ("markets: [{base: 12:30}]\n", "markets[0].base: 12:30 is not a coin"),
    ("markets: [{bsae: HYPE}]\n", "markets[0].bsae: no such key; did you mean base?"),
    ("markets: [{base: HYPE, base: BTC}]\n", "markets[0].base: is given twice"),
    (
        "markets:\n- {base: BTC}\n- {base: BTC}\n",
        "config.yaml:1: markets: BTC, BTC: a coin is named",
    ),
    ("markets: [{base: BTC, reserve_sz: -1}]\n", "markets[0].reserve_sz: -1 is below 0"),
    ("markets: [{base: BTC, reserve_sz: all}]\n", "markets[0].reserve_sz: all is not a number"),
    # Venue.
    (MARKETS + "venue: hyperliquid\n", "2: venue: is hyperliquid, but takes keys"),
    (MARKETS + "venue: {name: hyperliqid}\n", "hyperliqid is not one of: embedded, hyperliquid"),
    (
        MARKETS + "venue: {name: hyperliquid}\n",
        "2: venue.network: is missing for hyperliquid; write network: testnet or network: mainnet",
    ),
    (MARKETS + "venue: {name: aster}\n", "2: venue.network: is missing for aster"),
    (
        MARKETS + "venue: {name: hyperliquid, network: main}\n",
        "main is not one of: mainnet, testnet",
    ),
    (MARKETS + "venue: {network: testnet}\n", "venue.network: does not go with the embedded"),
    (MARKETS + "venue: {base_url: 'https://node.example'}\n", "venue.base_url: does not go with"),
    (
        MARKETS + LIVE.replace("testnet}", "testnet, base_url: 'http://node.example'}"),
        "http://node.example must begin with https://",
    ),
    (
        MARKETS + LIVE.replace("testnet}", "testnet, base_url: 'https://api.hyperliquid.xyz'}"),
        "https://api.hyperliquid.xyz is the mainnet, but network is testnet",
    ),
    (
        MARKETS
        + LIVE.replace("testnet}", "mainnet, ws_url: 'wss://api.hyperliquid-testnet.xyz/ws'}"),
        "is the testnet, but network is mainnet",
    ),
    (MARKETS + LIVE.replace("testnet}", "testnet, speed: 60}"), "speed: is only for the embedded"),
    (MARKETS + LIVE.replace("testnet}", "testnet, seed: 1}"), "seed: is only for the embedded"),
    # Account.
    (
        MARKETS + "venue: {name: hyperliquid, network: testnet}\n",
        "account.address: is missing: hyperliquid trades the money of an account",
    ),
    (MARKETS + "account: {address: 0xabc}\n", "0xabc is not an account: 0x and 40 hex digits"),
    (
        MARKETS + "account: {address: 0x00000000000000000000000000000000000000aA}\n",
        "account.address: does not go with the embedded exchange",
    ),
    (
        MARKETS + "account: {agent_key: {env: CARRY_AGENT_KEY}}\n",
        "account.agent_key: does not go with the embedded exchange: play money needs no account",
    ),
    # Secrets.
    (MARKETS + "account: {agent_key: hunter2}\n", "holds a value (not shown) where a reference"),
    (MARKETS + "account: {agent_key: [hunter2]}\n", "holds a value (not shown) where a reference"),
    (MARKETS + "account: {agent_key: {evn: hunter2}}\n", "is not a reference to a secret"),
    (MARKETS + "account: {agent_key: {env: A, file: hunter2}}\n", "is not a reference to a secret"),
    (MARKETS + "account: {agent_key: {env: }}\n", "account.agent_key.env: names nothing"),
    (
        MARKETS + "account: {agent_key: {env: hunter-2}}\n",
        "not the name of an environment variable",
    ),
    (MARKETS + f"account: {{agent_key: {KEY_64}}}\n", "agent_key: holds what looks like a secret"),
    (MARKETS + f"account: {{agent_key: '{KEY_64[2:]}'}}\n", "holds what looks like a secret"),
    (
        MARKETS + f"account: {{agent_key: {{env: {KEY_64}}}}}\n",
        "env: holds what looks like a secret",
    ),
    (MARKETS + f"account: {{address: {KEY_64}}}\n", "address: holds what looks like a secret"),
    (MARKETS + f"{KEY_64}: 1\n", "2: holds what looks like a secret"),
    (MARKETS + f"telegram: {{token: '8123456789:{'Ab_-' * 9}'}}\n", "token: holds what looks like"),
    (MARKETS + "history: {dsn: 'postgres://bot:hunter2@db/carry'}\n", "dsn: holds what looks like"),
    (MARKETS + f"account: {{agent_key: {'hunter ' * 12}}}\n", "holds what looks like a secret"),
    # The rest of the wiring.
    (MARKETS + LIVE + "journal: {path: ':memory:'}\n", ":memory: would forget what is open"),
    (MARKETS + "journal: {keep_days: 0}\n", "journal.keep_days: 0 is below 1"),
    (MARKETS + "journal: {path: ''}\n", "journal.path: '' is not a file or folder"),
    (MARKETS + "telegram: {chat_ids: 5}\n", "2: telegram.token: is missing: token and chat_ids"),
    (MARKETS + "telegram: {token: {env: T}}\n", "2: telegram.chat_ids: is missing"),
    (MARKETS + "telegram: {chat_ids: ['@me']}\n", "telegram.chat_ids: @me is not a number"),
    (MARKETS + "telemetry: {port: 70000}\n", "telemetry.port: 70000 is above 65535"),
    (MARKETS + "alerts: {silence_ms_max: 10}\n", "alerts.silence_ms_max: 10 is below 5000"),
    (MARKETS + "interval_ms: 99\n", "2: interval_ms: 99 is below 100; allowed is 100 to 60000 ms"),
    (
        MARKETS + "interval_ms: 20000\n",
        "2: interval_ms: 20000 is above risk.quote_age_ms_max 15000",
    ),
    (MARKETS + "interval_ms: 100\nmin_tick_ms: 200\n", "3: min_tick_ms: 200 is above interval_ms"),
    (MARKETS + "interval_ms: {ms: 5}\n", "2: interval_ms: is a set of keys, but takes one value"),
]


@pytest.mark.parametrize("text, said", BAD, ids=[str(number) for number in range(len(BAD))])
def test_refused_with_one_clear_line(text: str, said: str) -> None:
    line = refusal(text)

    assert said in line
    assert "hunter" not in line, "a secret must not be repeated"
    assert "c0ffee42" not in line, "a secret must not be repeated"


@pytest.mark.parametrize("text, said", BAD, ids=[str(number) for number in range(len(BAD))])
def test_the_command_line_refuses_it_with_exit_code_2(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["config", "check", "--config", str(file)])

    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert printed.out == ""
    assert said.removeprefix("config.yaml") in printed.err
    assert printed.err.count("\n") == 1


# --- each class of error in each section, made from the keys ------------------------------------


def every_key() -> Iterator[tuple[str, Knob]]:
    for name, field in {**POLICY_FIELDS, **WIRING_FIELDS}.items():
        if "knob" in field.metadata:
            yield name, field.metadata["knob"]
        else:
            for full, knob, _ in config_docs.keys(name, field.type):
                yield full, knob


KEYS = list(every_key())


def with_key(full: str, value: str) -> str:
    """A config with one key, each level on its own line."""
    parts = full.split(".")
    lines = [f"{'  ' * depth}{part}:" for depth, part in enumerate(parts)]
    return MARKETS + "\n".join(lines) + f" {value}\n"


@pytest.mark.parametrize("full, knob", KEYS, ids=[full for full, _ in KEYS])
def test_every_key_refuses_a_wrong_type(full: str, knob: Knob) -> None:
    wrong = refusal(with_key(full, "{a: 1}" if knob.kind == "ids" else "[1, 2]"))
    where = f"config.yaml:{1 + len(full.split('.'))}: {full}: "

    assert wrong.startswith(where), wrong
    if knob.kind not in ("path", "text"):
        assert refusal(with_key(full, "maybe?")).startswith(where)
    if knob.kind in WHOLE:
        assert "is not a whole number" in refusal(with_key(full, "1.5"))
    if knob.kind != "secret":
        assert "has no value" in refusal(with_key(full, ""))


@pytest.mark.parametrize("full, knob", KEYS, ids=[full for full, _ in KEYS])
def test_every_bound_is_kept_and_named(full: str, knob: Knob) -> None:
    """One step beyond a bound is refused with the bound; the bound itself is not refused for it."""
    step = 1 if knob.kind in (*WHOLE, "ids") else D("0.001")
    for bound, beyond, word in (
        (knob.lo, lambda b: b - step, "below"),
        (knob.hi, lambda b: b + step, "above"),
    ):
        if bound is None:
            continue
        outside = show(D(beyond(bound)))
        line = refusal(with_key(full, outside))
        assert f"{full}: {outside} is {word} " in line, line
        assert "allowed is" in line
        assert knob.why in line
        try:
            parse(with_key(full, show(D(bound))))
        except ConfigError as error:
            assert "allowed is" not in str(error), "a relation may refuse it, its own bound not"


@pytest.mark.parametrize(
    "section",
    [
        name
        for name, field in {**POLICY_FIELDS, **WIRING_FIELDS}.items()
        if "knob" not in field.metadata
    ],
)
def test_every_section_refuses_what_is_none_of_its_keys(section: str) -> None:
    first = next(full for full, _ in KEYS if full.startswith(f"{section}."))
    key = first.rpartition(".")[2]

    assert f"config.yaml:2: {section}: is 5, but takes keys: " in refusal(
        f"{MARKETS}{section}: 5\n"
    )
    misspelt = refusal(f"{MARKETS}{section}:\n  {key[:-1]}: 5\n")
    assert misspelt == f"config.yaml:3: {section}.{key[:-1]}: no such key; did you mean {key}?"
    twice = refusal(f"{MARKETS}{section}:\n  {key}: 5\n  {key}: 5\n")
    assert twice.startswith(f"config.yaml:4: {section}.{key}: is given twice (first on line 3)")


def test_every_contradiction_has_its_line_in_the_table() -> None:
    """Each relation the policy knows is broken once here, so the table cannot lack one."""
    s, r, e = Policy().strategy, Policy().risk, Policy().execution
    broken = Policy(
        strategy=attrs.evolve(
            s,
            exit_threshold_apr=D(1),
            target_usd_notional=D(10**6),
            min_exposure_usd=D(10**7),
            delta_band_usd=D(10**8),
        ),
        risk=attrs.evolve(
            r,
            per_symbol_notional_cap=D(10**5),
            slice_usd=D(20),
            skew_ms_warn=60_000,
            budget_actions_floor=9_999,
            liq_distance_min=D(1),
            liq_distance_target=D("0.1"),
            hard_cap=D(100),
        ),
        execution=attrs.evolve(
            e,
            hedge_repair_stage_ms=600_000,
            perp_cross=False,
            perp_leverage=5,
            style="maker",
            maker_timeout_ms=600_000,
        ),
        markets=(MarketPolicy(base="BTC"), MarketPolicy(base="BTC")),
    )
    named = {key for key, _ in contradictions(broken)} - {"markets"}

    assert named <= set(config_docs.RELATIONS)
    assert {key for key in config_docs.RELATIONS if key.split(".")[0] in SECTIONS} == named


# --- files -------------------------------------------------------------------------------------


def test_file_errors_name_the_file_and_the_next_step(tmp_path: Path) -> None:
    def said(path: Path) -> str:
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "there is no such file; copy config.yaml.example" in said(tmp_path / "none.yaml")
    assert "this is not a file" in said(tmp_path)
    big = tmp_path / "big.yaml"
    big.write_text(MARKETS + "#" * FILE_BYTES_MAX)
    assert f"larger than {FILE_BYTES_MAX} bytes" in said(big)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"markets: []\n# caf\xe9\n")
    assert f"{latin}:2: is not UTF-8 text" in said(latin)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("markets: [HYPE]\n")
    assert said(wrong).startswith(f"{wrong}:1: markets[0]: ")


# --- settings at run time ----------------------------------------------------------------------


def test_a_setting_makes_a_new_policy() -> None:
    policy = Policy()
    changed = with_setting(policy, "slice_usd", "100")

    assert changed.risk.slice_usd == 100
    assert policy.risk.slice_usd == 250
    assert with_setting(
        policy, "strategy.enter_threshold_apr", "5%"
    ).strategy.enter_threshold_apr == D("0.05")


@pytest.mark.parametrize(
    "key, text, only_down, said",
    [
        ("slice_us", "100", False, "slice_us: no such key; did you mean"),
        ("hedge_ratio", "1", False, "strategy.hedge_ratio: cannot be changed while the bot runs"),
        ("slice_usd", "100%", False, "risk.slice_usd: 100% has a unit"),
        ("slice_usd", "5", False, "risk.slice_usd: 5 is below 20"),
        ("slice_usd", "300", True, "risk.slice_usd: 300 is above 250, the value in force"),
        ("target_usd_notional", "3000", False, "the target could never be reached"),
        ("exit_threshold_apr", "10", False, "can be read as 10 %"),
    ],
)
def test_settings_are_refused_like_the_file(
    key: str, text: str, only_down: bool, said: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        with_setting(Policy(), key, text, only_down=only_down)


def test_the_chat_may_lower_and_may_move_thresholds_either_way() -> None:
    assert with_setting(Policy(), "risk.slice_usd", "100", only_down=True).risk.slice_usd == 100
    raised = with_setting(Policy(), "enter_threshold_apr", "5%", only_down=True)
    assert raised.strategy.enter_threshold_apr == D("0.05")


def test_settable_keys_are_those_the_design_names() -> None:
    assert set(settable()) >= {
        "strategy.enter_threshold_apr",
        "strategy.exit_threshold_apr",
        "strategy.target_usd_notional",
        "execution.style",
        "risk.per_symbol_notional_cap",
        "risk.portfolio_notional_cap",
        "risk.max_drawdown_usd",
    }
