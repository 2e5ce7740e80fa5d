"""The seeded market: oracle, basis and premium of each coin, a pure function of (seed, coin, hour).

All arithmetic is in integers (1e-8 USD, 1e-9 fractions), so no libm decides a digit.

Calibrated on recordings of Hyperliquid 2024-09 to 2025-04 (funding std and persistence, hourly
volatility, |perp - spot| near 5 to 7 bp). By construction, in every block of 720 hours from the
start, each coin has at least `NEGATIVE_SHARE` of its hours in a regime of negative premium, and the
coins together two or more moves of about 20 % within a day. The history before the start and the
first `QUIET_HOURS` are in the ordinary regime, at or a little above the baseline rate.
"""

from typing import NamedTuple

from .assets import Coin, all_coins
from .noise import NORMAL_SD, key_of, mix, normals
from .paths import HOUR_MS, KNOTS, HourPath, Print

E9 = 1_000_000_000
BLOCK_HOURS = 720
HISTORY_HOURS = 40 * 24
QUIET_HOURS = 30
NEGATIVE_SHARE = 100
"""Hours of a block, of 720, that are in the negative regime at least (about 14 %)."""

_CACHED_HOURS = 400
_BP = 100_000
"""One basis point in 1e-9."""


class Regime(NamedTuple):
    """Premium of the perp over the oracle that an hour tends to, and how long a spell lasts."""

    name: str
    premium_bp10: int
    weight: int
    hours: tuple[int, int]


# Rate = (P - 5 bp) / 8 above 6 bp, baseline between -4 and 6, negative below -5. Premium in 0.1 bp.
NEUTRAL = Regime("neutral", 15, 44, (12, 60))
ORDINARY = Regime("ordinary", 62, 22, (12, 48))
HOT = Regime("hot", 150, 18, (6, 30))
NEGATIVE = Regime("negative", -85, 18, (8, 40))
_REGIMES = (NEUTRAL, ORDINARY, HOT, NEGATIVE)

PREMIUM_BP10 = {
    ("HYPE", "ordinary"): 88, ("HYPE", "hot"): 260, ("PURR", "ordinary"): 90, ("PURR", "hot"): 300,
}
"""Where a regime is richer than usual: HYPE pays 0.003 to 0.005 % an hour in the ordinary one."""

MOVES_A_BLOCK = {"HYPE": 2, "PURR": 2}
_MOVE_HOURS = (5, 12)
_MOVE_E9 = (190_000_000, 260_000_000)


class Hour(NamedTuple):
    """What an hour starts from and drifts to; `vol` is its standard deviation in 1e-9."""

    oracle: int
    drift: int
    premium: int
    basis: int
    vol: int


class _Block(NamedTuple):
    """The calendar of 720 hours: a regime for each, and the drift of each in 1e-9."""

    regimes: tuple[Regime, ...]
    drifts: tuple[int, ...]


class SeededMarket:
    """See the module. `start_ms` must be a whole hour; coins are independent of each other."""

    prints_funding = False

    def __init__(
        self,
        seed: int,
        start_ms: int,
        coins: tuple[str, ...],
        known: dict[str, Coin] | None = None,
    ) -> None:
        assert start_ms % HOUR_MS == 0, start_ms
        known = known or all_coins()
        self.name = f"seeded {seed}"
        self.coins = coins
        self.start_ms = start_ms
        self._start_hour = start_ms // HOUR_MS
        self.first_hour = self._start_hour - HISTORY_HOURS
        self._tracks = {
            name: _Track(seed, known[name], self._start_hour, lonely=len(coins) < 2)
            for name in coins
        }

    def path(self, coin: str, hour: int) -> HourPath:
        return self._tracks[coin].path(max(hour, self.first_hour))

    def printed(self, coin: str, hour: int) -> Print | None:
        return None


class _Track:
    """One coin: hours are drawn in order, because each starts where the last one ended."""

    def __init__(self, seed: int, coin: Coin, start_hour: int, *, lonely: bool) -> None:
        self._coin = coin
        self._key = key_of(seed, "market", coin.name)
        self._start_hour = start_hour
        self._first = start_hour - HISTORY_HOURS
        self._moves = MOVES_A_BLOCK.get(coin.name, 2 if lonely else 1)
        self._blocks: dict[int, _Block] = {}
        self._paths: dict[int, HourPath] = {}
        self._last_vol = coin.vol_e9
        ordinary = self._level(ORDINARY)
        self._hours = [self._begin(ordinary)]

    def _begin(self, premium: int) -> Hour:
        return self._next_hour(0, self._coin.start_px8, premium, 0)

    def path(self, hour: int) -> HourPath:
        index = hour - self._first
        found = self._paths.get(index)
        if found is None:
            found = self._paths[index] = self._draw(index)
            if len(self._paths) > _CACHED_HOURS:
                del self._paths[next(iter(self._paths))]
        return found

    def _hour(self, index: int) -> Hour:
        while len(self._hours) <= index:
            last = self._hours[-1]
            oracle = last.oracle + last.oracle * last.drift // E9
            number = len(self._hours)
            self._hours.append(self._next_hour(number, oracle, last.premium, last.basis))
        return self._hours[index]

    def _next_hour(self, number: int, oracle: int, premium: int, basis: int) -> Hour:
        """The hour's drift, and the premium and basis at its start."""
        z = normals(self._key ^ mix(number), 5)
        coin = self._coin
        regime, push = self._calendar(number)
        # Volatility: a slow mean-reverting factor times the coin's own, between 0.45 and 2.4.
        vol = self._last_vol + (coin.vol_e9 - self._last_vol) // 12 + coin.vol_e9 * z[0] // 2200
        vol = min(max(vol, coin.vol_e9 * 45 // 100), coin.vol_e9 * 240 // 100)
        self._last_vol = vol
        if push:
            vol = vol * 45 // 100
        drift = push + vol * z[1] // NORMAL_SD
        if mix(self._key + 7919 * number) % 110 == 0 and not push:
            drift += vol * z[2] // (NORMAL_SD // 3)
        # A weak pull to the start price keeps a year of play money in a plausible range.
        drift += (coin.start_px8 - oracle) * 400 // max(oracle, 1) * 1000
        drift = min(max(drift, -300_000_000), 300_000_000)
        level = self._level(regime)
        premium += (level - premium) * 3 // 10 + _BP * 13 * z[3] // (10 * NORMAL_SD)
        basis += -basis * 4 // 10 + _BP * 17 * z[4] // (10 * NORMAL_SD)
        return Hour(oracle, drift, premium, basis, vol)

    def _level(self, regime: Regime) -> int:
        bp10 = PREMIUM_BP10.get((self._coin.name, regime.name), regime.premium_bp10)
        return bp10 * _BP // 10

    def _calendar(self, number: int) -> tuple[Regime, int]:
        since = number - HISTORY_HOURS
        if since < 0:
            return ORDINARY, 0
        number_of_block, hour = divmod(since, BLOCK_HOURS)
        block = self._blocks.get(number_of_block)
        if block is None:
            block = self._blocks[number_of_block] = self._draw_block(number_of_block)
        return block.regimes[hour], block.drifts[hour]

    def _draw_block(self, number: int) -> _Block:
        """Draws until the block has its share of negative hours: seldom more than a few times."""
        attempt = 0
        while True:
            regimes = self._draw_regimes(key_of(self._key, "regimes", number, attempt), number)
            if sum(regime is NEGATIVE for regime in regimes) >= NEGATIVE_SHARE:
                break
            attempt += 1
        drifts = self._draw_moves(key_of(self._key, "moves", number), number)
        return _Block(tuple(regimes), tuple(drifts))

    def _draw_regimes(self, key: int, number: int) -> list[Regime]:
        regimes: list[Regime] = [ORDINARY] * QUIET_HOURS if number == 0 else []
        total = sum(regime.weight for regime in _REGIMES)
        while len(regimes) < BLOCK_HOURS:
            key = mix(key)
            pick = key % total
            for regime in _REGIMES:
                pick -= regime.weight
                if pick < 0:
                    break
            low, high = regime.hours
            regimes += [regime] * (low + (key >> 32) % (high - low + 1))
        return regimes[:BLOCK_HOURS]

    def _draw_moves(self, key: int, number: int) -> list[int]:
        """Big moves, one in each equal part of the block, so that two never cancel."""
        drifts = [0] * BLOCK_HOURS
        begin = 4 * 24 if number == 0 else 0
        part = (BLOCK_HOURS - begin) // self._moves
        up = mix(key) & 1
        for index in range(self._moves):
            key = mix(key + index)
            hours = _MOVE_HOURS[0] + key % (_MOVE_HOURS[1] - _MOVE_HOURS[0] + 1)
            size = _MOVE_E9[0] + (key >> 16) % (_MOVE_E9[1] - _MOVE_E9[0] + 1)
            first = begin + index * part + (key >> 48) % (part - hours)
            sign = 1 if (up + index) % 2 else -1
            for hour in range(first, first + hours):
                drifts[hour] += sign * size // hours
        return drifts

    def _draw(self, index: int) -> HourPath:
        """Minute knots: straight lines from this hour's start to the next one's, plus bridges."""
        here = self._hour(index)
        after = self._hour(index + 1)
        z = normals(key_of(self._key, "minutes", index), 3 * (KNOTS - 1))
        # sqrt(1/60) of an hour's deviation a minute: 129 thousandths.
        walk = _bridge(z[: KNOTS - 1], here.vol * 129 // 1000)
        wobble = _bridge(z[KNOTS - 1 : 2 * (KNOTS - 1)], _BP * 5 // 10)
        flutter = _bridge(z[2 * (KNOTS - 1) :], _BP * 5 // 10)
        oracle: list[int] = []
        perp: list[int] = []
        spot: list[int] = []
        steps = KNOTS - 1
        for minute in range(KNOTS):
            move = here.drift * minute // steps + walk[minute]
            price = here.oracle + here.oracle * move // E9 if minute < steps else after.oracle
            premium = here.premium + (after.premium - here.premium) * minute // steps
            basis = here.basis + (after.basis - here.basis) * minute // steps
            oracle.append(price)
            perp.append(price + price * (premium + wobble[minute]) // E9)
            spot.append(price + price * (basis + flutter[minute]) // E9)
        return HourPath(oracle, perp, spot)


def _bridge(z: list[int], step: int) -> list[int]:
    """A random walk of normal draws with deviation `step` each, tied down to 0 at both ends."""
    walk = [0]
    for draw in z:
        walk.append(walk[-1] + step * draw // NORMAL_SD)
    end, steps = walk[-1], len(z)
    return [value - end * i // steps for i, value in enumerate(walk)]
