"""Which spot token stands for which perp, in which units (reference 3.4, 8.4)."""

import json
from decimal import Decimal as D
from typing import Any

import pytest

from carry.core.actions import Place
from carry.core.observations import Accepted, NotSent
from carry.core.types import Leg, Side, Tif
from carry.venues.hyperliquid import account, metadata, parse
from carry.venues.hyperliquid.constants import WRAPPERS, Network
from tests.venues.hyperliquid.support import (
    CLOID,
    META,
    SPOT_META,
    FakeTransport,
    encoded,
    venue_of,
)
from tests.venues.hyperliquid.test_reads import balance, fill_row, l2, level
from tests.venues.hyperliquid.test_writes import PLACE, filled

# perp, spot token, its number, its id, pair number, szDecimals: mainnet's, reference 3.4
TABLE = (
    ("HYPE", "HYPE", 150, "0x0d01dc56dcaaca66ad901c959b4011ec", 107, 2),
    ("BTC", "UBTC", 197, "0x8f254b963e8468305d409b33aa137c67", 142, 5),
    ("ETH", "UETH", 221, "0xe1edd30daaf5caac3fe63569e24748da", 151, 4),
    ("SOL", "USOL", 254, "0x49b67c39f5566535de22b29b0e51e685", 156, 3),
    ("PUMP", "UPUMP", 299, "0x544e60f98a36d7b22c0fb5824b84f795", 188, 0),
    ("FARTCOIN", "UFART", 269, "0x7650808198966e4285687d3deb556ccc", 162, 1),
    ("PURR", "PURR", 1, "0xc1fb593aeffbeb02f85e0308e9956a90", 0, 0),
    ("SPX", "UUUSPX", 319, "0x2ff71b802a6788a052c7f1a58ec863af", 193, 1),
    ("ENA", "UENA", 338, "0x593494b6af79172fa983a0cf1c88e0e0", 206, 1),
    ("PENGU", "HPENGU", 292, "0x1765b5a9ec8fc3cdbc209c63cac68e86", 184, 2),
    ("kBONK", "UBONK", 320, "0xb113d34e351cf195733c98442530c099", 194, 0),
)
BONK_ID = TABLE[-1][3]


def universes(rows: Any = TABLE) -> tuple[bytes, bytes]:
    """`meta` and `spotMeta` with those pairs, and a look-alike of each name without their id."""
    perps = [{"name": name, "szDecimals": 0, "maxLeverage": 5} for name, *_ in rows]
    tokens = [SPOT_META["tokens"][0]]
    pairs = []
    for _, name, number, token_id, pair, decimals in rows:
        tokens.append({"name": name, "index": number + 1000, "szDecimals": 2, "tokenId": "0x1"})
        tokens.append(
            {"name": name, "index": number, "szDecimals": decimals, "tokenId": token_id}
        )
        pairs.append({"tokens": [number + 1000, 0], "name": f"@{pair + 1000}",
                      "index": pair + 1000})  # fmt: skip
        pairs.append({"tokens": [number, 0], "name": f"@{pair}", "index": pair})
    return encoded({"universe": perps}), encoded({"universe": pairs, "tokens": tokens})


def pair_all(*coins: str, network: Network = Network.MAINNET, **pinned: str) -> Any:
    meta, spot = universes()
    read, known = metadata.read_markets(meta, spot, coins, network, 1, pinned)
    return read, known


@pytest.mark.parametrize("network", list(Network))
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_a_token_is_told_by_its_id(row: Any, network: Network) -> None:
    """Look-alikes of the same name are there too, and cheaper to make."""
    coin, name, number, _, pair, _ = row
    read, _ = pair_all(coin, network=network)
    market = read.markets[coin]
    assert (market.spot_token, market.token, market.spot.asset) == (name, number, 10_000 + pair)


def test_a_ticker_alone_pairs_nothing() -> None:
    """Spot MON is not Monad's coin; its wrapper's id is not known here."""
    meta, spot = universes([("MON", "MON", 164, "0x622cf551933f19f9136303dcab56488c", 129, 2)])
    read, _ = metadata.read_markets(meta, spot, ["MON"], Network.MAINNET, 1)
    assert "the id of UMON is not known here" in read.broken["MON"]


def test_an_id_of_the_config_pairs_what_the_table_does_not_know() -> None:
    token_id = "0x" + "5a" * 16
    meta, spot = universes([("NEW", "XNEW", 400, token_id, 300, 2)])
    read, _ = metadata.read_markets(meta, spot, ["NEW"], Network.MAINNET, 1)
    assert "name its `token_id`" in read.broken["NEW"]
    read, _ = metadata.read_markets(meta, spot, ["NEW"], Network.MAINNET, 1, {"NEW": token_id})
    assert read.markets["NEW"].token == 400
    read, _ = metadata.read_markets(meta, spot, ["NEW"], Network.MAINNET, 1, {"NEW": "0x2"})
    assert "0 spot tokens have the id 0x2 of the config" in read.broken["NEW"]


@pytest.mark.parametrize(
    "more", [{"onlyIsolated": True}, {"marginMode": "strictIsolated"}, {"marginMode": "noCross"}]
)
def test_a_perp_without_cross_margin_is_not_traded(more: Any) -> None:
    meta = {"universe": [{**META["universe"][3], **more}]}
    read, _ = metadata.read_markets(
        encoded(meta), encoded(SPOT_META), ["HYPE"], Network.MAINNET, 1
    )
    assert "isolated margin only" in read.broken["HYPE"]


# --- a perp of a thousand units: all of the spot leg is counted in them -------------------------


def test_units_of_a_market_in_thousands() -> None:
    """1 kBONK is 1000 UBONK: a lot of one token is 0.001, eight decimals of its price are five."""
    read, known = pair_all("kBONK")
    market = read.markets["kBONK"]
    assert (market.spot.lot, market.perp.lot, market.lot) == (D("0.001"), D(1), D(1))
    assert market.spot.rule.tick_at(D("0.02134")) == D("0.00001")
    assert not market.spot.rule.valid(D("0.0213456"))
    assert known.by_token == {320: "kBONK"}


def test_books_balances_orders_and_fills_in_thousands() -> None:
    _, known = pair_all("kBONK")
    book = encoded(l2([level("0.00002134", "5000")], [level("0.00002135", "7000")], "@194"))
    seen = parse.read_book(book, known, 1)
    assert seen is not None
    assert (seen.book.bid_px, seen.book.bids[0].sz) == (D("0.02134"), D(5))
    rows = {"balances": [balance("UBONK", 320, "1234567.0", "1000.0")]}
    held = account.read_balances(encoded(rows), known, 1).coins["kBONK"]
    assert (held.total, held.hold) == (D("1234.567"), D(1))
    fill = fill_row(coin="@194", px="0.00002134", sz="2000000", feeToken="UBONK", fee="1400")
    (got,) = account.read_fills(encoded([fill]), known).items
    assert (got.px, got.sz, got.fee, got.fee_in_base) == (D("0.02134"), D(2000), D("1.4"), True)
    assert got.fee_usd == D("1400") * D("0.00002134")
    order = {"coin": "@194", "side": "A", "limitPx": "0.00002134", "sz": "2000000.0", "oid": 1}
    (rest,) = account.read_orders(encoded([order]), known)
    assert (rest.px, rest.sz) == (D("0.02134"), D(2000))
    perp = encoded(l2([level("0.021345", "5")], [level("0.021346", "7")], "kBONK"))
    seen = parse.read_book(perp, known, 1)
    assert seen is not None
    assert (seen.book.bid_px, seen.book.bids[0].sz) == (D("0.021345"), D(5))


def test_an_order_in_thousands_leaves_in_tokens_and_its_fill_comes_back() -> None:
    meta, spot = universes()
    transport = FakeTransport(
        {"meta": json.loads(meta), "spotMeta": json.loads(spot)}, [filled("1500000")]
    )
    venue = venue_of(transport, coins=("kBONK",))
    place = Place(
        intent=1, coin="kBONK", leg=Leg.SPOT, side=Side.BUY, px=D("0.02134"), sz=D(2000),
        tif=Tif.IOC, reduce_only=False, cloid=CLOID, nonce=1, expires_ms=2, why="entry",
    )  # fmt: skip
    outcome = venue.write(place)
    assert isinstance(outcome, Accepted)
    assert outcome.filled_sz == D(1500)
    order = json.loads(transport.posted[0])["action"]["orders"][0]
    assert (order["a"], order["p"], order["s"]) == (10_194, "0.00002134", "2000000")


def test_metadata_of_a_journal_stands_in_until_it_is_read_again() -> None:
    """A restart while a market's row is broken must not strand what is held in it."""
    before = venue_of(FakeTransport({})).markets(("BTC", "HYPE")).markets["HYPE"]
    transport = FakeTransport({"meta": {"universe": META["universe"][:3]}}, [filled("1.5")])
    venue = venue_of(transport)
    assert isinstance(venue.write(PLACE), NotSent)
    venue.recall([before])
    assert isinstance(venue.write(PLACE), Accepted)
    assert json.loads(transport.posted[0])["action"]["orders"][0]["a"] == 3
    transport.info["meta"] = META
    assert venue.markets(("BTC", "HYPE")).markets["HYPE"] == before


def test_the_table_names_each_token_once() -> None:
    names = [wrapper.name for wrapper in WRAPPERS.values()]
    ids = [w.token_id for w in WRAPPERS.values() if w.token_id is not None]
    assert len({*names}) == len(names)
    assert len({*ids}) == len(ids)
    assert {name: ids for name, _, _, ids, _, _ in TABLE} == {
        coin: w.token_id for coin, w in WRAPPERS.items() if w.token_id is not None
    }
