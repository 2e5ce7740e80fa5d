"""`/exchange`: who acts, whether the action may run, and what each kind of action does."""

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .accounts import SPLIT, UNIFIED, Account, Agent, Balance, Nonces, Order
from .answers import Denied, Malformed, Reply, done, statuses_of
from .assets import USDC_TOKEN, USDC_TOKEN_ID
from .matching import Ask, Collapse, Refusal
from .signing import (
    CHAINS,
    USER_SIGNED,
    BadSignature,
    connection_id,
    l1_digest,
    recover,
    user_digest,
)
from .text import USD6, ZERO, near, read_decimal, wire

if TYPE_CHECKING:
    from .model import Exchange

DAY_MS = 86_400_000
BATCH_MAX = 200
FREE_REQUESTS = 10_000
EXHAUSTED_GAP_MS = 10_000
STALE_COST = 5
SCHEDULE_VOLUME = Decimal(1_000_000)
NAMED_AGENTS_MAX = 3
_CLOID = re.compile(r"0x[0-9a-f]{32}")
_MODES = {"i": SPLIT, "u": UNIFIED}

class Actions:
    """Signature, nonce, expiry and budget first; then one method for each action type."""

    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange

    def answer(self, body: Any) -> Reply:
        """The reply to a decoded body. Raises Malformed for what the venue cannot deserialize."""
        if not isinstance(body, dict) or not isinstance(body.get("action"), dict):
            raise Malformed
        action, nonce = body["action"], body.get("nonce")
        kind = action.get("type")
        if not isinstance(nonce, int) or not isinstance(kind, str):
            raise Malformed
        if not isinstance(body.get("signature"), dict):
            raise Malformed
        try:
            if kind in USER_SIGNED:
                return self._user_signed(action, kind, nonce, body)
            return self._l1(action, kind, nonce, body)
        except Denied as denied:
            return {"status": "err", "response": str(denied)}
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise Malformed from error

    # Who.

    def _l1(self, action: Reply, kind: str, nonce: int, body: Reply) -> Reply:
        expires, vault = body.get("expiresAfter"), body.get("vaultAddress")
        digest = l1_digest(connection_id(action, nonce, vault, expires), self.ex.network)
        signer = self._recover(digest, body["signature"])
        account = self._master(signer)
        if vault is not None:
            raise Denied(f"Vault not registered: {vault}")
        method = getattr(self, f"_do_{_snake(kind)}", None)
        if method is None or kind in USER_SIGNED:
            raise Malformed
        weight = self._count(action, kind)
        if weight > BATCH_MAX:
            raise Denied("Signed action over weight limit of 200.")
        self._check_nonce(signer, nonce)
        if isinstance(expires, int) and expires < self.ex.now:
            account.requests_used += STALE_COST
            self.ex.changed = True
            raise Denied("Action already expired")
        self._spend(account, weight, cancels=kind.startswith("cancel"))
        self.ex.nonces.setdefault(signer, Nonces()).use(nonce)
        self.ex.changed = True
        reply: Reply = method(account, action, signer)
        return reply

    def _user_signed(self, action: Reply, kind: str, nonce: int, body: Reply) -> Reply:
        signer = self._recover(user_digest(action), body["signature"])
        account = self.ex.accounts.get(signer)
        if account is None:
            raise Denied(f"Must deposit before performing actions. User: {signer}")
        if action.get("hyperliquidChain") != CHAINS[self.ex.network]:
            raise Denied(f"User or API Wallet {signer} does not exist.")
        if action.get("time", action.get("nonce")) != nonce:
            raise Denied("Nonce of the action differs from the nonce of the request.")
        method = getattr(self, f"_do_{_snake(kind)}", None)
        if method is None:
            raise Malformed
        self._check_nonce(signer, nonce)
        self.ex.nonces.setdefault(signer, Nonces()).use(nonce)
        self.ex.changed = True
        reply: Reply = method(account, action, signer)
        return reply

    def _recover(self, digest: bytes, signature: Reply) -> str:
        try:
            return recover(digest, signature)
        except BadSignature as error:
            raise Denied("Unable to recover signer.") from error

    def _master(self, signer: str) -> Account:
        account = self.ex.accounts.get(signer)
        if account is not None:
            return account
        agent = self.ex.agents.get(signer)
        expired = (
            agent is not None
            and agent.valid_until_ms is not None
            and agent.valid_until_ms < self.ex.now
        )
        if agent is None or expired or agent.master not in self.ex.accounts:
            raise Denied(f"User or API Wallet {signer} does not exist.")
        return self.ex.accounts[agent.master]

    # Whether.

    def _check_nonce(self, signer: str, nonce: int) -> None:
        now = self.ex.now
        low, high = now - 2 * DAY_MS, now + DAY_MS
        if nonce <= low:
            raise Denied(f"Invalid nonce: nonce too low {nonce} < {low}")
        if nonce >= high:
            raise Denied(f"Invalid nonce: nonce too high {nonce} > {high}")
        refusal = self.ex.nonces.setdefault(signer, Nonces()).refusal(nonce)
        if refusal is not None:
            raise Denied(refusal)

    def _count(self, action: Reply, kind: str) -> int:
        for key in ("orders", "cancels", "modifies"):
            if kind in ("order", "cancel", "cancelByCloid", "batchModify") and key in action:
                return max(len(action[key]), 1)
        return 1

    def _spend(self, account: Account, weight: int, *, cancels: bool) -> None:
        """The address budget: 10000 actions and one more for each USDC traded; cancels have more.

        Exhausted, one action passes every 10 s. A refused action costs nothing.
        """
        if self.ex.limits:
            cap = FREE_REQUESTS + int(account.volume)
            if cancels:
                cap = min(cap + 100_000, cap * 2)
            used = account.requests_used + weight
            waited = self.ex.now - account.last_action_ms
            if used > cap and waited < EXHAUSTED_GAP_MS:
                raise Denied(
                    f"Too many cumulative requests sent ({used} > {cap}) for cumulative volume "
                    f"traded ${near(account.volume, Decimal('0.01'))}. Place taker orders to free "
                    "up 1 request per USDC traded."
                )
        account.requests_used += weight
        account.last_action_ms = self.ex.now

    # What: orders.

    def _do_order(self, account: Account, action: Reply, signer: str) -> Reply:
        orders = action["orders"]
        if not orders:
            return statuses_of("order", [{"error": "Orders are empty."}])
        asks: list[Ask | Refusal] = []
        try:
            for order in orders:
                asks.append(self._read_order(order))
        except Collapse as collapse:
            return statuses_of("order", [{"error": collapse.text}])
        statuses: list[object] = []
        for order, ask in zip(orders, asks, strict=True):
            try:
                if isinstance(ask, Refusal):
                    raise ask
                statuses.append(self.ex.matching.place(account, ask))
            except Refusal as refusal:
                statuses.append({"error": f"{refusal.text} asset={order['a']}"})
        return statuses_of("order", statuses)

    def _read_order(self, order: Reply) -> Ask | Refusal:
        cloid = order.get("c")
        if cloid is not None and not _CLOID.fullmatch(cloid):
            raise ValueError(cloid)
        for key, kinds in (("a", int), ("b", bool), ("r", bool), ("p", str), ("s", str)):
            if not isinstance(order[key], kinds):
                raise ValueError(key)
        try:
            return self.ex.matching.read(order)
        except Refusal as refusal:
            return refusal

    def _do_cancel(self, account: Account, action: Reply, signer: str) -> Reply:
        def find(item: Reply) -> tuple[int, Order | None]:
            order = account.orders.get(item["o"])
            if order is not None and order.asset.asset_id != item["a"]:
                order = None
            return item["a"], order

        return self._cancel_each(account, action["cancels"], find)

    def _do_cancel_by_cloid(self, account: Account, action: Reply, signer: str) -> Reply:
        def find(item: Reply) -> tuple[int, Order | None]:
            for order in account.orders.values():
                same = order.asset.asset_id == item["asset"]
                if same and order.cloid == item["cloid"]:
                    return item["asset"], order
            return item["asset"], None

        return self._cancel_each(account, action["cancels"], find)

    def _cancel_each(self, account: Account, items: list[Reply], find: Any) -> Reply:
        statuses: list[object] = []
        for item in items:
            asset_id, order = find(item)
            if order is None:
                statuses.append(
                    {
                        "error": "Order was never placed, already canceled, or filled. "
                        f"asset={asset_id}"
                    }
                )
                continue
            self.ex.matching.cancel(account, order, "canceled")
            statuses.append("success")
        return statuses_of("cancel", statuses)

    def _do_modify(self, account: Account, action: Reply, signer: str) -> Reply:
        status = self._modify(account, action["oid"], action["order"], action.get("a") is True)
        if isinstance(status, dict) and "error" in status:
            raise Denied(f"Error placing new order during modify: {status['error']}")
        return done()

    def _do_batch_modify(self, account: Account, action: Reply, signer: str) -> Reply:
        always = action.get("a") is True
        statuses: list[object] = []
        for item in action["modifies"]:
            statuses.append(self._modify(account, item["oid"], item["order"], always))
        return statuses_of("order", statuses)

    def _modify(
        self, account: Account, oid: int | str, wire_order: Reply, always: bool
    ) -> object:
        """Cancel and place: if the new order fails, the old one is already gone."""
        found = [o for o in account.orders.values() if o.oid == oid or o.cloid == oid]
        if not found:
            raise Denied("Cannot modify canceled or filled order")
        if not always and wire_order["t"].get("limit", {}).get("tif") == "Ioc":
            return {"error": f"Cannot modify to this order type. asset={wire_order['a']}"}
        self.ex.matching.cancel(account, found[-1], "canceled")
        if not always:
            # Without `a`, a GTC that does not cross is taken as post-only.
            wire_order = {**wire_order, "t": {"limit": {"tif": "Alo"}}}
        try:
            ask = self._read_order(wire_order)
            if isinstance(ask, Refusal):
                raise ask
            return self.ex.matching.place(account, ask)
        except (Refusal, Collapse) as refusal:
            return {"error": f"{refusal.text} asset={wire_order['a']}"}

    def _do_noop(self, account: Account, action: Reply, signer: str) -> Reply:
        return done()

    def _do_schedule_cancel(self, account: Account, action: Reply, signer: str) -> Reply:
        if account.volume < SCHEDULE_VOLUME:
            raise Denied(
                "Cannot set scheduled cancel time until enough volume traded. "
                f"Required: $1000000. Traded: ${near(account.volume, Decimal('0.01'))}."
            )
        time = action.get("time")
        if time is None:
            self.ex.scheduled.pop(account.address, None)
        elif time < self.ex.now + 5_000:
            raise Denied("Scheduled cancel time too early, must be at least 5 seconds from now.")
        else:
            self.ex.scheduled[account.address] = time
        return done()

    # What: settings.

    def _do_update_leverage(self, account: Account, action: Reply, signer: str) -> Reply:
        asset = self.ex.assets.get(action["asset"])
        leverage = action["leverage"]
        if asset is None or asset.is_spot:
            raise Denied("Invalid asset")
        if not isinstance(leverage, int) or not 1 <= leverage <= asset.max_leverage:
            raise Denied("Invalid leverage value")
        if action["isCross"] is not True:
            if account.position(asset.asset_id) is not None:
                raise Denied("Cannot switch leverage type with open position.")
            raise Denied("Isolated margin is not offered by this exchange.")
        before = account.leverage_of(asset)
        account.leverage[asset.asset_id] = leverage
        summary = self.ex.summary(account)
        if leverage < before and summary.total_im > summary.value:
            account.leverage[asset.asset_id] = before
            raise Denied("Insufficient margin to decrease leverage.")
        return done()

    def _do_agent_set_abstraction(self, account: Account, action: Reply, signer: str) -> Reply:
        mode = _MODES.get(action["abstraction"])
        if mode is None or (account.unified and mode == SPLIT and signer != account.address):
            raise Denied("Abstraction transition not allowed")
        return self._set_mode(account, mode)

    def _do_user_set_abstraction(self, account: Account, action: Reply, signer: str) -> Reply:
        mode = {"disabled": SPLIT, "unifiedAccount": UNIFIED}.get(action["abstraction"])
        if mode is None or action["user"].lower() != account.address:
            raise Denied("Abstraction transition not allowed")
        return self._set_mode(account, mode)

    def _set_mode(self, account: Account, mode: str) -> Reply:
        if mode != account.mode:
            if account.orders or any(p.szi for p in account.positions.values()):
                raise Denied("Abstraction transition not allowed")
            account.spot[USDC_TOKEN].total += account.perp_cash
            account.perp_cash = ZERO
            account.mode = mode
        account.explicit_mode = True
        return done()

    def _do_approve_agent(self, account: Account, action: Reply, signer: str) -> Reply:
        address = action["agentAddress"].lower()
        name, _, until = action.get("agentName", "").partition(" valid_until ")
        agents = self.ex.agents
        if not self.ex.is_address(address):
            raise Denied("Invalid agent address")
        if address in agents or address in self.ex.accounts or address in self.ex.spent_agents:
            raise Denied("Extra agent already used.")
        if until and int(until) <= self.ex.now:
            raise Denied("Agent valid_until already expired.")
        mine = [a for a in agents.values() if a.master == account.address]
        same = [a for a in mine if a.name == name]
        if name and not same and sum(bool(a.name) for a in mine) >= NAMED_AGENTS_MAX:
            raise Denied(
                "Too many extra agents for cumulative volume traded. Current limit is "
                f"{NAMED_AGENTS_MAX}"
            )
        for old in same:
            del agents[old.address]
            self.ex.spent_agents.append(old.address)
        if int(address, 16):
            valid = int(until) if until else self.ex.now + 90 * DAY_MS
            agents[address] = Agent(address, account.address, name, valid)
        return done()

    # What: money.

    def _do_usd_class_transfer(self, account: Account, action: Reply, signer: str) -> Reply:
        if account.unified:
            raise Denied("Action disabled when unified account is active")
        amount = _amount(action["amount"], 6)
        self._move(account, amount, to_perp=action["toPerp"] is True)
        row = {"type": "accountClassTransfer", "usdc": wire(amount), "toPerp": action["toPerp"]}
        self._note(account, row)
        return done()

    def _do_agent_send_asset(self, account: Account, action: Reply, signer: str) -> Reply:
        if action["nonce"] is not None and not isinstance(action["nonce"], int):
            raise ValueError(action["nonce"])
        if action["destination"].lower() != account.address or action["fromSubAccount"]:
            raise Denied("Agent can only send asset to same user or their sub-accounts.")
        return self._send_to_self(account, action)

    def _do_send_asset(self, account: Account, action: Reply, signer: str) -> Reply:
        if action["destination"].lower() != account.address or action["fromSubAccount"]:
            raise Denied("Invalid send")
        return self._send_to_self(account, action)

    def _send_to_self(self, account: Account, action: Reply) -> Reply:
        source, target = action["sourceDex"], action["destinationDex"]
        if account.unified:
            if (source, target) != ("spot", "spot"):
                raise Denied("Unified account only supports sending assets through spot")
            return done()
        if action["token"] not in (f"USDC:{USDC_TOKEN_ID}", "USDC"):
            raise Denied("Invalid send")
        if {source, target} != {"", "spot"}:
            raise Denied("Invalid send")
        amount = _amount(action["amount"], 6 if target == "" else 8)
        if amount != near(amount, USD6):
            raise Denied("Invalid send")
        self._move(account, amount, to_perp=target == "")
        row = {
            "type": "send", "user": account.address, "destination": account.address,
            "sourceDex": source, "destinationDex": target, "token": "USDC",
            "amount": wire(amount), "usdcValue": wire(amount), "fee": "0.0",
            "nativeTokenFee": "0.0", "nonce": action["nonce"], "feeToken": "",
        }
        self._note(account, row)
        return done()

    def _move(self, account: Account, amount: Decimal, *, to_perp: bool) -> None:
        summary = self.ex.summary(account)
        free = (
            self.ex.spot_free(account, USDC_TOKEN) if to_perp else summary.withdrawable
        )
        if amount > free:
            raise Denied(
                "Insufficient balance for token transfer"
                if to_perp
                else "Insufficient balance for withdrawal"
            )
        sign = 1 if to_perp else -1
        account.perp_cash += sign * amount
        account.spot[USDC_TOKEN].total -= sign * amount

    def _do_usd_send(self, account: Account, action: Reply, signer: str) -> Reply:
        """Perp USDC to another user; the first transfer to a new address costs 1 USDC."""
        if account.unified:
            raise Denied("Action disabled when unified account is active")
        amount = _amount(action["amount"], 6)
        to = action["destination"].lower()
        if not self.ex.is_address(to):
            raise Denied("Invalid send")
        fee = ZERO if to in self.ex.accounts else Decimal(1)
        if amount + fee > self.ex.summary(account).withdrawable:
            raise Denied("Insufficient balance for withdrawal")
        target = self.ex.account_for(to)
        account.perp_cash -= amount + fee
        target.pay_perp(amount)
        self.ex.house.collect(USDC_TOKEN, fee)
        row = {
            "type": "internalTransfer", "usdc": wire(amount), "user": account.address,
            "destination": to, "fee": wire(fee),
        }
        self._note(account, row)
        if target is not account:
            self._note(target, row)
        return done()

    def _do_spot_send(self, account: Account, action: Reply, signer: str) -> Reply:
        """A spot token to another user, by "NAME:tokenId"."""
        name = action["token"].partition(":")[0]
        tokens = [index for index, text in self.ex.token_names.items() if text == name]
        to = action["destination"].lower()
        if not tokens or not self.ex.is_address(to):
            raise Denied("Invalid send")
        token = tokens[0]
        amount = _amount(action["amount"], self.ex.wei_decimals[token])
        if amount > self.ex.spot_free(account, token):
            raise Denied("Insufficient balance for token transfer")
        target = self.ex.account_for(to)
        mine = account.balance(token)
        share = mine.entry_ntl * amount / mine.total if mine.total else ZERO
        moved = near(share, Decimal("0.00000001"))
        mine.total -= amount
        mine.entry_ntl -= moved
        theirs = target.spot.setdefault(token, Balance())
        theirs.total += amount
        theirs.entry_ntl += moved
        row = {
            "type": "spotTransfer", "token": name, "amount": wire(amount), "usdcValue": "0.0",
            "user": account.address, "destination": to, "fee": "0.0", "nativeTokenFee": "0.0",
            "nonce": action["time"], "feeToken": "",
        }
        self._note(account, row)
        if target is not account:
            self._note(target, row)
        return done()

    def _note(self, account: Account, delta: Reply) -> None:
        row = {"time": self.ex.now, "hash": self.ex.block_hash(), "delta": delta}
        account.transfers.append(row)
        self.ex.streams.ledger(account.address, row)


def _amount(text: object, decimals: int) -> Decimal:
    amount = read_decimal(text)
    if amount is None or amount <= 0 or amount != round(amount, decimals):
        raise Denied("Invalid send")
    return amount


def _snake(kind: str) -> str:
    return re.sub(r"[A-Z]", lambda m: "_" + m.group().lower(), kind)
