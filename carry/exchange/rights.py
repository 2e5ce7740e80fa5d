"""`/info`: what a user may do and has set: fees, budgets, roles, agents, sub-accounts, loans."""

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .accounts import PORTFOLIO, SPLIT, Account
from .assets import USDC_TOKEN
from .fees import REFERRAL, STAKING
from .funding import BORROW_YEARLY
from .reads import within
from .settings import MODE_NAMES
from .settle import TIERS
from .text import USD6, ZERO, near, wire
from .transfers import VAULT

if TYPE_CHECKING:
    from .model import Exchange

REQUESTS_FREE = 10_000
ROWS_PAGE = 2_000
Query = dict[str, Any]


class Rights:
    """Reads about one user that are not money or orders."""

    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange

    def handlers(self) -> dict[str, Callable[[Query], Any]]:
        by_user: dict[str, Callable[[str, Query], Any]] = {
            "userFees": lambda u, q: self._fees(u),
            "userRateLimit": lambda u, q: self._rate_limit(u),
            "userRole": lambda u, q: self._role(u),
            "extraAgents": lambda u, q: self._agents(u),
            "userAbstraction": lambda u, q: self.abstraction(u),
            "userDexAbstraction": lambda u, q: False,
            "portfolio": lambda u, q: self._portfolio(u),
            "subAccounts": lambda u, q: self._sub_accounts(u),
            "referral": lambda u, q: self._referral(u),
            "maxBuilderFee": lambda u, q: self._builders(u).get(str(q["builder"]).lower(), 0),
            "approvedBuilders": lambda u, q: list(self._builders(u)),
            "twapHistory": lambda u, q: self.twaps(u),
            "userTwapSliceFills": lambda u, q: self.slices(u)[:ROWS_PAGE],
            "userTwapSliceFillsByTime": self._slices_by_time,
            "borrowLendUserState": lambda u, q: self._loans(u),
            "userBorrowLendInterest": lambda u, q: [],
            "userVaultEquities": lambda u, q: self._vaults(u),
            "delegatorSummary": lambda u, q: self._staking(u),
            "delegations": lambda u, q: [],
            "delegatorRewards": lambda u, q: [],
            "delegatorHistory": lambda u, q: [],
            "userToMultiSigSigners": lambda u, q: None,
            "spotDeployState": lambda u, q: {"states": [], "gasAuction": None},
            "preTransferCheck": lambda u, q: self._pre_transfer(u),
            "webData2": lambda u, q: self.ex.channels.web_data_2(u),
        }

        def asked(read: Callable[[str, Query], Any]) -> Callable[[Query], Any]:
            return lambda query: read(self.ex.info.user(query), query)

        return {kind: asked(read) for kind, read in by_user.items()}

    def _account(self, user: str) -> Account:
        return self.ex.accounts.get(user) or Account(user, SPLIT)

    # Fees and budgets.

    def _fees(self, user: str) -> dict[str, Any]:
        account, base = self._account(user), TIERS[0]
        rates = self.ex.fees.shown(account)
        step, discount = self.ex.fees.staking_discount(account)
        return {
            "dailyUserVlm": [
                {
                    "date": date, "userCross": wire(cross), "userAdd": wire(add),
                    "exchange": "5000000000.0",
                }
                for date, (cross, add) in sorted(account.daily_volume.items())[-15:]
            ],
            "feeSchedule": {
                "cross": wire(base.perp_cross), "add": wire(base.perp_add),
                "spotCross": wire(base.spot_cross), "spotAdd": wire(base.spot_add),
                "tiers": {
                    "vip": [
                        {
                            "ntlCutoff": wire(t.cutoff), "cross": wire(t.perp_cross),
                            "add": wire(t.perp_add), "spotCross": wire(t.spot_cross),
                            "spotAdd": wire(t.spot_add),
                        }
                        for t in TIERS[1:]
                    ],
                    "mm": [
                        {"makerFractionCutoff": "0.005", "add": "-0.00001"},
                        {"makerFractionCutoff": "0.015", "add": "-0.00002"},
                        {"makerFractionCutoff": "0.03", "add": "-0.00003"},
                    ],
                },
                "referralDiscount": wire(REFERRAL),
                "stakingDiscountTiers": [{"bpsOfMaxSupply": "0.0", "discount": "0.0"}]
                + [{"bpsOfMaxSupply": bps, "discount": wire(d)} for _, bps, d in STAKING],
            },
            "userCrossRate": wire(rates.perp_cross), "userAddRate": wire(rates.perp_add),
            "userSpotCrossRate": wire(rates.spot_cross), "userSpotAddRate": wire(rates.spot_add),
            "activeReferralDiscount": wire(self.ex.fees.referral_discount(account)),
            "trial": None, "feeTrialEscrow": "0.0", "nextTrialAvailableTimestamp": None,
            "stakingLink": None,
            "activeStakingDiscount": {"bpsOfMaxSupply": step, "discount": wire(discount)},
        }

    def _rate_limit(self, user: str) -> dict[str, Any]:
        account = self._account(user)
        spare = account.requests_reserved - account.requests_used
        return {
            "cumVlm": wire(account.volume), "nRequestsUsed": max(-spare, 0),
            "nRequestsCap": REQUESTS_FREE + int(account.volume),
            "nRequestsSurplus": max(spare, 0),
        }

    # Who.

    def _role(self, user: str) -> dict[str, Any]:
        account = self.ex.accounts.get(user)
        if account is not None and account.master:
            return {"role": "subAccount", "data": {"master": account.master}}
        if account is not None:
            return {"role": "user"}
        if user == VAULT:
            return {"role": "vault"}
        agent = self.ex.agents.get(user)
        if agent is not None:
            return {"role": "agent", "data": {"user": agent.master}}
        return {"role": "missing"}

    def _agents(self, user: str) -> list[dict[str, Any]]:
        return [
            {"name": agent.name, "address": agent.address, "validUntil": agent.valid_until_ms}
            for agent in self.ex.agents.values()
            if agent.master == user and agent.name
        ]

    def abstraction(self, user: str) -> str:
        account = self._account(user)
        if account.mode == SPLIT and not account.explicit_mode:
            return "default"
        return MODE_NAMES[account.mode]

    def _sub_accounts(self, user: str) -> list[dict[str, Any]] | None:
        """None, not an empty list, where there are none."""
        info = self.ex.info
        rows = [
            {
                "name": sub.name, "subAccountUser": sub.address, "master": user,
                "clearinghouseState": info.clearinghouse_state(sub.address),
                "spotState": info.spot_state(sub.address),
            }
            for sub in self.ex.sub_accounts(self._account(user))
        ]
        return rows or None

    def _builders(self, user: str) -> dict[str, int]:
        return self._account(user).builders

    def _referral(self, user: str) -> dict[str, Any]:
        account = self._account(user)
        referrer = None
        if account.referrer:
            referrer = {"referrer": "0x" + "d" * 40, "code": account.referrer}
        return {
            "referredBy": referrer, "cumVlm": wire(account.volume), "unclaimedRewards": "0.0",
            "claimedRewards": "0.0", "builderRewards": "0.0",
            "referrerState": {"stage": "needToTrade", "data": {"required": "10000.0"}},
            "rewardHistory": [],
        }

    def _pre_transfer(self, user: str) -> dict[str, Any]:
        """What a transfer to this address would meet: the activation fee of a new one."""
        known = user in self.ex.accounts
        return {
            "fee": "0.0" if known else "1.0", "isSanctioned": False, "userExists": known,
            "userHasSentTx": known,
        }

    # History and holdings.

    def _portfolio(self, user: str) -> list[Any]:
        account = self.ex.accounts.get(user)
        value = self.ex.equity(account) if account else ZERO
        spans = ("day", "week", "month", "allTime", "perpDay", "perpWeek", "perpMonth")
        return [
            [
                span,
                {
                    "accountValueHistory": [[self.ex.now, wire(near(value, USD6))]],
                    "pnlHistory": [[self.ex.now, "0.0"]],
                    "vlm": wire(account.volume if account else ZERO),
                },
            ]
            for span in (*spans, "perpAllTime")
        ]

    def twaps(self, user: str) -> list[dict[str, Any]]:
        """Newest first."""
        return self._account(user).twaps[::-1][:ROWS_PAGE]

    def slices(self, user: str) -> list[dict[str, Any]]:
        """Newest first."""
        return list(self._account(user).slices)[::-1]

    def _slices_by_time(self, user: str, query: Query) -> list[dict[str, Any]]:
        rows = [{"time": row["fill"]["time"], "row": row} for row in self._account(user).slices]
        return [row["row"] for row in within(rows, query, self.ex.now)][:ROWS_PAGE]

    def _loans(self, user: str) -> dict[str, Any]:
        account = self._account(user)
        rows: list[Any] = []
        owed = -account.spot[USDC_TOKEN].total
        if account.mode == PORTFOLIO and owed > 0:
            nothing = {"basis": "0.0", "value": "0.0"}
            loan = {"basis": wire(owed), "value": wire(owed)}
            rows.append([USDC_TOKEN, {"borrow": loan, "supply": nothing}])
        return {"tokenToState": rows, "health": "healthy", "healthFactor": None}

    def _vaults(self, user: str) -> list[dict[str, Any]]:
        account = self._account(user)
        if not account.vault_usd:
            return []
        return [
            {
                "vaultAddress": VAULT, "equity": wire(account.vault_usd),
                "lockedUntilTimestamp": account.vault_ms,
            }
        ]

    def _staking(self, user: str) -> dict[str, Any]:
        return {
            "delegated": wire(self._account(user).staked), "undelegated": "0.0",
            "totalPendingWithdrawal": "0.0", "nPendingWithdrawals": 0,
        }


def reserve_state(ex: "Exchange", token: int) -> dict[str, Any]:
    """Lending terms of a token."""
    name = ex.token_names[token]
    ltv = ex.loan_to_value().get(name, Decimal(0))
    return {
        "borrowYearlyRate": wire(BORROW_YEARLY), "supplyYearlyRate": "0.00082",
        "balance": "1000000.0", "utilization": "0.01",
        "oraclePx": wire(ex.token_px(token)), "ltv": wire(ltv),
        "totalSupplied": "1000000.0", "totalBorrowed": "10000.0",
    }
