"""`/exchange`: leverage and margin, account mode, agents, builders, referrer, sub-accounts."""

import hashlib
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from .accounts import PORTFOLIO, SPLIT, UNIFIED, Account, Agent, Position
from .answers import Denied, Reply, done
from .assets import USDC_TOKEN, Asset
from .margin import TRANSFER_SHARE, spot_hold
from .text import USD6, ZERO, near, read_decimal

if TYPE_CHECKING:
    from .model import Exchange

DAY_MS = 86_400_000
AGENT_DAYS, AGENT_DAYS_MAX = 90, 180
NAMED_AGENTS_MAX, NAMED_AGENTS_A_SUB = 3, 2
REMOVAL_MS = 5_000
"""How long after an agent was removed the account may not name another."""

SUB_ACCOUNT_VOLUME = Decimal(100_000)
RESERVED_USDC = Decimal("0.0005")
BUILDER_MAX = {"perp": 100, "spot": 1_000}
"""Highest builder fee, in tenths of a basis point."""

PORTFOLIO_MIN_USD = Decimal(10_000)
PORTFOLIO_VOLUME = Decimal(5_000_000)
_WIRE_MODES = {"i": SPLIT, "u": UNIFIED, "p": PORTFOLIO}
MODE_NAMES = {SPLIT: "disabled", UNIFIED: "unifiedAccount", PORTFOLIO: "portfolioMargin"}
_BY_MODE_NAME = {name: mode for mode, name in MODE_NAMES.items()}
NOT_ALLOWED = "Abstraction transition not allowed"
_MICRO = Decimal("0.000001")


class Settings:
    """Handlers of what changes how an account works, and who may act for it."""

    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange

    def handlers(self) -> dict[str, Callable[[Account, Reply, str], Reply]]:
        return {
            "updateLeverage": self._update_leverage,
            "updateIsolatedMargin": self._update_isolated_margin,
            "topUpIsolatedOnlyMargin": self._top_up_isolated,
            "agentSetAbstraction": self._agent_set_abstraction,
            "userSetAbstraction": self._user_set_abstraction,
            "userDexAbstraction": self._dex_abstraction,
            "agentEnableDexAbstraction": self._dex_abstraction,
            "approveAgent": self._approve_agent,
            "approveBuilderFee": self._approve_builder_fee,
            "setReferrer": self._set_referrer,
            "createSubAccount": self._create_sub_account,
            "reserveRequestWeight": self._reserve_request_weight,
            "tokenDelegate": self._no_stake,
            "convertToMultiSigUser": self._no_multi_sig,
        }

    # Leverage and isolated margin.

    def _perp(self, asset_id: object) -> Asset:
        asset = self.ex.assets.get(asset_id) if isinstance(asset_id, int) else None
        if asset is None or asset.is_spot:
            raise Denied("Invalid asset")
        return asset

    def _update_leverage(self, account: Account, action: Reply, signer: str) -> Reply:
        """The same value is fine; margin already posted to an isolated position does not move."""
        asset, leverage = self._perp(action["asset"]), action["leverage"]
        if not isinstance(leverage, int) or not 1 <= leverage <= asset.max_leverage:
            raise Denied("Invalid leverage value")
        isolated = action["isCross"] is not True
        if not isolated and asset.coin in self.ex.margin_modes:
            raise Denied("Cross margin is not allowed for this asset.")
        held = account.position(asset.asset_id)
        was_isolated = asset.asset_id in account.isolated
        if held is not None and isolated != was_isolated:
            raise Denied("Cannot switch leverage type with open position.")
        before = account.leverage.get(asset.asset_id)
        account.leverage[asset.asset_id] = leverage
        if held is not None and isolated:
            mark = self.ex.mark(asset)
            worth = held.posted + held.szi * mark - held.cost
            if worth * leverage < abs(held.szi) * mark and (before is None or leverage < before):
                self._restore_leverage(account, asset, before)
                raise Denied(
                    "Isolated position does not have sufficient margin available to decrease "
                    "leverage. To decrease leverage, add margin to the position."
                )
        elif before is None or leverage < before:
            summary = self.ex.summary(account)
            if summary.total_im > summary.value:
                self._restore_leverage(account, asset, before)
                raise Denied("Insufficient margin to decrease leverage.")
        if isolated:
            account.isolated[asset.asset_id] = None
        else:
            account.isolated.pop(asset.asset_id, None)
        return done()

    def _restore_leverage(self, account: Account, asset: Asset, before: int | None) -> None:
        if before is None:
            del account.leverage[asset.asset_id]
        else:
            account.leverage[asset.asset_id] = before

    def _isolated(self, account: Account, asset: Asset) -> Position:
        held = account.position(asset.asset_id)
        if held is None or asset.asset_id not in account.isolated:
            raise Denied("Position does not use isolated margin.")
        return held

    def _update_isolated_margin(self, account: Account, action: Reply, signer: str) -> Reply:
        """`ntli`: USDC in 1e-6; negative takes margin out again, down to the larger of initial
        margin and 10 % of the notional."""
        asset = self._perp(action["asset"])
        held = self._isolated(account, asset)
        if not isinstance(action["ntli"], int):
            raise ValueError(action["ntli"])
        self._post(account, asset, held, action["ntli"] * _MICRO)
        return done()

    def _top_up_isolated(self, account: Account, action: Reply, signer: str) -> Reply:
        """Adds what brings the position down to `leverage`."""
        asset = self._perp(action["asset"])
        held = self._isolated(account, asset)
        target = read_decimal(action["leverage"])
        if target is None or target < 1:
            raise Denied("Invalid leverage value")
        mark = self.ex.mark(asset)
        worth = held.posted + held.szi * mark - held.cost
        missing = near(abs(held.szi) * mark / target - worth, USD6)
        if missing > 0:
            self._post(account, asset, held, missing)
        return done()

    def _post(self, account: Account, asset: Asset, held: Position, usdc: Decimal) -> None:
        summary = self.ex.summary(account)
        if usdc > 0 and usdc > summary.value - summary.total_im:
            raise Denied("Insufficient balance for withdrawal")
        if usdc < 0:
            if self.ex.margin_modes.get(asset.coin) == "strictIsolated":
                raise Denied("Cannot remove margin from a strict isolated position.")
            mark = self.ex.mark(asset)
            notional = abs(held.szi) * mark
            kept = max(notional / account.leverage_of(asset), notional * TRANSFER_SHARE)
            if held.posted + held.szi * mark - held.cost + usdc < kept:
                raise Denied("Insufficient margin to remove.")
        account.pay_perp(-usdc)
        held.posted += usdc

    # Account modes.

    def _agent_set_abstraction(self, account: Account, action: Reply, signer: str) -> Reply:
        mode = _WIRE_MODES.get(action["abstraction"])
        if mode is None:
            raise Denied(NOT_ALLOWED)
        if signer not in self.ex.accounts:
            if account.unified and mode == SPLIT:
                raise Denied(NOT_ALLOWED)
            allowed = self.ex.switches["agent_sets_portfolio"] == "allowed"
            if mode == PORTFOLIO and not allowed:
                raise Denied(NOT_ALLOWED)
        return self._set_mode(account, mode)

    def _user_set_abstraction(self, account: Account, action: Reply, signer: str) -> Reply:
        mode, user = _BY_MODE_NAME.get(action["abstraction"]), action["user"].lower()
        target = account if user == account.address else self.ex.accounts.get(user)
        if mode is None or target is None or account.address not in (user, target.master):
            raise Denied(NOT_ALLOWED)
        refused = self.ex.switches["master_downgrade"] == "refused"
        if refused and target.unified and mode == SPLIT:
            raise Denied(NOT_ALLOWED)
        return self._set_mode(target, mode)

    def _dex_abstraction(self, account: Account, action: Reply, signer: str) -> Reply:
        raise Denied(NOT_ALLOWED)

    def _set_mode(self, account: Account, mode: str) -> Reply:
        if mode != account.mode:
            busy = account.orders or account.triggers or self.ex.twaps.of(account)
            if busy or any(p.szi for p in account.positions.values()):
                raise Denied(NOT_ALLOWED)
            if mode == PORTFOLIO:
                self._check_portfolio(account)
            if mode == SPLIT and account.spot[USDC_TOKEN].total < 0:
                raise Denied(NOT_ALLOWED)
            account.spot[USDC_TOKEN].total += account.perp_cash
            account.perp_cash = ZERO
            account.mode = mode
        account.explicit_mode = True
        return done()

    def _check_portfolio(self, account: Account) -> None:
        value = self.ex.equity(account)
        enough = value > PORTFOLIO_MIN_USD or self.ex.fees.weighted_volume(account) > (
            PORTFOLIO_VOLUME
        )
        if not enough or value > Decimal(self.ex.switches["portfolio_max_usd"]):
            raise Denied(NOT_ALLOWED)

    # Who may act, and who is paid.

    def _approve_agent(self, account: Account, action: Reply, signer: str) -> Reply:
        address = action["agentAddress"].lower()
        name, _, until = action.get("agentName", "").partition(" valid_until ")
        agents, now = self.ex.agents, self.ex.now
        if not self.ex.is_address(address):
            raise Denied("Invalid agent address")
        if address in agents or address in self.ex.accounts or address in self.ex.spent_agents:
            raise Denied("Extra agent already used.")
        if now < self.ex.removals.get(account.address, 0):
            raise Denied("User has pending agent removal")
        if until and int(until) <= now:
            raise Denied("Agent valid_until already expired.")
        if until and int(until) > now + AGENT_DAYS_MAX * DAY_MS:
            raise Denied(f"Agent valid_until too far in the future, max is {AGENT_DAYS_MAX} days.")
        mine = [a for a in agents.values() if a.master == account.address]
        same = [a for a in mine if a.name == name]
        limit = NAMED_AGENTS_MAX + NAMED_AGENTS_A_SUB * len(self.ex.sub_accounts(account))
        if name and not same and sum(bool(a.name) for a in mine) >= limit:
            raise Denied(
                f"Too many extra agents for cumulative volume traded. Current limit is {limit}"
            )
        for old in same:
            del agents[old.address]
            self.ex.spent_agents.append(old.address)
        if int(address, 16):
            valid = int(until) if until else now + AGENT_DAYS * DAY_MS
            agents[address] = Agent(address, account.address, name, valid)
        else:
            self.ex.removals[account.address] = now + REMOVAL_MS
        return done()

    def _approve_builder_fee(self, account: Account, action: Reply, signer: str) -> Reply:
        """`maxFeeRate` is a percentage: "0.001%" is a tenth of a basis point."""
        builder, text = action["builder"].lower(), action["maxFeeRate"]
        rate = read_decimal(text.removesuffix("%"))
        if rate is None or rate < 0 or not text.endswith("%") or not self.ex.is_address(builder):
            raise Denied("Invalid builder fee")
        tenths = rate * 1_000
        if tenths != int(tenths) or tenths > BUILDER_MAX["spot"]:
            raise Denied("Builder fee is too high.")
        account.builders[builder] = int(tenths)
        return done()

    def _set_referrer(self, account: Account, action: Reply, signer: str) -> Reply:
        code = action["code"]
        if not isinstance(code, str) or not code:
            raise ValueError(code)
        if account.referrer:
            raise Denied("Referrer already set.")
        account.referrer = code
        account.rates = None
        return done()

    def _create_sub_account(self, account: Account, action: Reply, signer: str) -> Reply:
        name = action["name"]
        if not isinstance(name, str) or not 0 < len(name) <= 32:
            raise Denied("Invalid sub-account name.")
        if account.volume < SUB_ACCOUNT_VOLUME:
            raise Denied(
                "Cannot create sub-accounts until enough volume traded. Required: $100000. "
                f"Traded: ${near(account.volume, Decimal('0.01'))}."
            )
        mine = self.ex.sub_accounts(account)
        if account.master or any(sub.name == name for sub in mine):
            raise Denied("Cannot create sub-account.")
        drawn = hashlib.sha256(f"{account.address}/{len(mine)}/{name}".encode()).hexdigest()
        sub = self.ex.account_for("0x" + drawn[:40])
        sub.mode, sub.master, sub.name = account.mode, account.address, name
        return done("createSubAccount", sub.address)

    def _reserve_request_weight(self, account: Account, action: Reply, signer: str) -> Reply:
        """More actions for 0.0005 USDC each, from the perp balance."""
        weight = action["weight"]
        if not isinstance(weight, int) or weight <= 0:
            raise ValueError(weight)
        cost = weight * RESERVED_USDC
        free = self.ex.summary(account).withdrawable
        if account.unified:
            free = account.spot[USDC_TOKEN].total - spot_hold(account, USDC_TOKEN)
        if cost > free:
            raise Denied("Insufficient balance for withdrawal")
        target = self.ex.accounts.get(str(action.get("destination") or account.address).lower())
        if target is None:
            raise Denied("Invalid destination")
        account.pay_perp(-cost)
        self.ex.house.collect(USDC_TOKEN, cost)
        target.requests_reserved += weight
        return done()

    def _no_stake(self, account: Account, action: Reply, signer: str) -> Reply:
        raise Denied("Insufficient staking balance")

    def _no_multi_sig(self, account: Account, action: Reply, signer: str) -> Reply:
        raise Denied("Multi-sig users are not offered by this exchange.")
