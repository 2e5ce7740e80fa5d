"""What the wider channels say: whole-account frames, TWAPs, order history, contexts of everything.

`Streams` decides who hears what and when; here is only how it reads.
"""

import base64
import zlib
from typing import TYPE_CHECKING, Any

import msgspec

from .accounts import SPLIT, Account

if TYPE_CHECKING:
    from .model import Exchange

SNAPSHOT_ROWS = 100


class Channels:
    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange

    def _account(self, user: str) -> Account:
        return self.ex.accounts.get(user) or Account(user, SPLIT)

    def user_state(self, kind: str, user: str) -> dict[str, Any]:
        """The frame of a channel that repeats the whole of something a user has."""
        info = self.ex.info
        if kind == "openOrders":
            return {"dex": "", "user": user, "orders": info.frontend_orders(user)}
        if kind == "clearinghouseState":
            state = info.clearinghouse_state(user)
            return {"dex": "", "user": user, "clearinghouseState": state}
        if kind == "allDexsClearinghouseState":
            state = info.clearinghouse_state(user)
            return {"user": user, "clearinghouseStates": [["", state]]}
        if kind == "twapStates":
            states = [[t.twap_id, t.state()] for t in self.ex.twaps.of(self._account(user))]
            return {"dex": "", "user": user, "states": states}
        if kind == "webData2":
            return self.web_data_2(user)
        if kind == "webData3":
            return self._web_data_3(user)
        return {"user": user, "spotState": info.spot_state(user)}

    def history(self, kind: str, user: str, since_ms: int | None) -> list[dict[str, Any]]:
        """Rows of a channel that grows; from `since_ms` on, or the latest for a snapshot."""
        account = self._account(user)
        if kind == "userHistoricalOrders":
            rows = self.ex.info.historical(account)
            if since_ms is not None:
                rows = [row for row in rows if row["statusTimestamp"] >= since_ms]
            return rows[:SNAPSHOT_ROWS]
        if kind == "userTwapHistory":
            rows = account.twaps[::-1]
            if since_ms is not None:
                rows = [row for row in rows if row["time"] >= since_ms // 1_000]
            return rows[:SNAPSHOT_ROWS]
        rows = list(account.slices)[::-1]
        if since_ms is not None:
            rows = [row for row in rows if row["fill"]["time"] >= since_ms]
        return rows[:SNAPSHOT_ROWS]

    def _agent(self, user: str) -> tuple[str | None, int | None]:
        """The unnamed agent and until when it may act."""
        for agent in self.ex.agents.values():
            if agent.master == user and not agent.name:
                return agent.address, agent.valid_until_ms
        return None, None

    def web_data_2(self, user: str) -> dict[str, Any]:
        """Everything a web page of the venue shows at once."""
        info = self.ex.info
        if self.ex.switches["web_data_2"] == "gone":
            raise ValueError("webData2")
        agent, until = self._agent(user)
        meta, ctxs = info.perps()
        return {
            "clearinghouseState": info.clearinghouse_state(user), "leadingVaults": [],
            "totalVaultEquity": "0.0", "openOrders": info.frontend_orders(user),
            "agentAddress": agent, "agentValidUntil": until, "cumLedger": "0.0", "meta": meta,
            "assetCtxs": ctxs, "serverTime": self.ex.now, "isVault": False, "user": user,
            "twapStates": self.user_state("twapStates", user)["states"],
            "spotState": info.spot_state(user), "spotAssetCtxs": info.spots(),
            "perpsAtOpenInterestCap": list(self.ex.oi_capped),
        }

    def _web_data_3(self, user: str) -> dict[str, Any]:
        agent, until = self._agent(user)
        return {
            "userState": {
                "agentAddress": agent, "agentValidUntil": until, "cumLedger": "0.0",
                "serverTime": self.ex.now, "isVault": False, "user": user,
                "abstraction": self.ex.info.rights.abstraction(user),
            },
            "perpDexStates": [
                {
                    "totalVaultEquity": "0.0",
                    "perpsAtOpenInterestCap": list(self.ex.oi_capped), "leadingVaults": [],
                }
            ],
        }

    def everything(self, kind: str, last: object) -> tuple[object, object]:
        """(data, what to remember) of a channel about all markets at once."""
        info = self.ex.info
        if kind == "allDexsAssetCtxs":
            return {"ctxs": [["", info.perps()[1]]]}, None
        if kind == "assetCtxs":
            return {"dex": "", "ctxs": info.perps()[1]}, None
        if kind == "spotAssetCtxs":
            return info.spots(), None
        if kind == "outcomeMetaUpdates":
            return [], None
        now = {
            asset.coin: {"markPx": info.mark_text(asset), "midPx": info.mid_text(asset)}
            for coin in self.ex.coins.values()
            for asset in (coin.perp, coin.spot)
        }
        before = last if isinstance(last, dict) else {}
        news = {coin: px for coin, px in now.items() if before.get(coin) != px}
        packer = zlib.compressobj(wbits=-15)
        packed = packer.compress(msgspec.json.encode(news)) + packer.flush()
        return base64.b64encode(packed).decode(), now
