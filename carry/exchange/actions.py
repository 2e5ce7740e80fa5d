"""`/exchange`: who acts and whether the action may run; what it does is its handler's.

Order of the checks: signature, who that is, form, nonce, expiry, budgets. A nonce is used up by
what passes them all, also when the action then fails.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .accounts import Account, Nonces
from .answers import Denied, Malformed, Reply
from .settings import Settings
from .signing import (
    CHAINS,
    USER_SIGNED,
    BadSignature,
    connection_id,
    l1_digest,
    recover,
    user_digest,
)
from .text import near
from .trading import Trading
from .transfers import Transfers

if TYPE_CHECKING:
    from .model import Exchange

DAY_MS = 86_400_000
BATCH_MAX = 200
FREE_REQUESTS = 10_000
EXHAUSTED_GAP_MS = 10_000
STALE_COST = 5
POOLED_ACTIONS_A_DAY = 50_000
AGENT_GRACE_MS = 15 * 60_000
"""How long an expired agent was seen to work, where the venue prunes lazily."""

BATCHES = {
    "order": "orders", "cancel": "cancels", "cancelByCloid": "cancels", "batchModify": "modifies",
}
"""Action type -> the list whose length it costs."""

MASTER_ONLY = (
    "createSubAccount", "subAccountTransfer", "subAccountSpotTransfer", "vaultTransfer",
    "reserveRequestWeight",
)
"""L1 actions an agent's key may not sign: it is told that it has no account of its own."""

_CENT = Decimal("0.01")


class Actions:
    """Reads envelopes; one table has a handler for each type of action."""

    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange
        self.trading = Trading(exchange)
        self._handlers: dict[str, Callable[[Account, Reply, str], Reply]] = {
            **self.trading.handlers(),
            **Settings(exchange).handlers(),
            **Transfers(exchange).handlers(),
        }

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
        canonical = self.ex.switches["hashed_numbers"] == "canonical"
        hashed = connection_id(action, nonce, vault, expires, canonical=canonical)
        signer = self._recover(l1_digest(hashed, self.ex.network), body["signature"])
        return self._run(signer, action, kind, nonce, expires, vault)

    def act(self, signer: str, action: Reply, nonce: int, expires: int | None) -> Reply:
        """The reply to an action whose signer is taken at his word."""
        try:
            return self._run(signer, action, action["type"], nonce, expires, None)
        except Denied as denied:
            return {"status": "err", "response": str(denied)}

    def _run(
        self, signer: str, action: Reply, kind: str, nonce: int, expires: object, vault: object
    ) -> Reply:
        account = self._acting_for(self._master(signer), vault)
        handler = self._handlers.get(kind)
        if handler is None:
            raise Malformed
        self._may_sign(signer, kind)
        weight = self._count(action, kind)
        if weight > BATCH_MAX:
            raise Denied("Signed action over weight limit of 200.")
        self._check_nonce(signer, nonce)
        if isinstance(expires, int) and expires < self.ex.now:
            account.requests_used += STALE_COST
            self.ex.meters.act(account.address, self.ex.now, STALE_COST, "stale")
            self.ex.changed = True
            raise Denied("Action already expired")
        self._spend(account, weight, kind)
        self.ex.nonces.setdefault(signer, Nonces()).use(nonce)
        self.ex.changed = True
        return handler(account, action, signer)

    def _user_signed(self, action: Reply, kind: str, nonce: int, body: Reply) -> Reply:
        signer = self._recover(user_digest(action), body["signature"])
        account = self.ex.accounts.get(signer)
        if account is None:
            raise Denied(f"Must deposit before performing actions. User: {signer}")
        if action.get("hyperliquidChain") != CHAINS[self.ex.network]:
            raise Denied(f"User or API Wallet {signer} does not exist.")
        if body.get("expiresAfter") is not None:
            raise Denied("expiresAfter is not supported on user-signed actions.")
        if action.get("time", action.get("nonce")) != nonce:
            raise Denied("Nonce of the action differs from the nonce of the request.")
        handler = self._handlers.get(kind)
        if handler is None:
            raise Malformed
        tracked = signer
        if self.ex.switches["user_nonces"] == "separate":
            tracked = f"user-signed/{signer}"
        self._check_nonce(tracked, nonce)
        self.ex.nonces.setdefault(tracked, Nonces()).use(nonce)
        self.ex.changed = True
        return handler(account, action, signer)

    def _recover(self, digest: bytes, signature: Reply) -> str:
        try:
            return recover(digest, signature)
        except BadSignature as error:
            raise Denied("Unable to recover signer.") from error

    def _master(self, signer: str) -> Account:
        """The account a key acts for: its own, or that of the master who approved it."""
        account = self.ex.accounts.get(signer)
        if account is not None:
            return account
        agent = self.ex.agents.get(signer)
        if agent is None or agent.master not in self.ex.accounts:
            raise Denied(f"User or API Wallet {signer} does not exist.")
        until = agent.valid_until_ms
        if until is not None:
            if self.ex.switches["agent_expiry"] == "late":
                until += AGENT_GRACE_MS
            if until < self.ex.now:
                raise Denied(f"User or API Wallet {signer} does not exist.")
        return self.ex.accounts[agent.master]

    def _acting_for(self, account: Account, vault: object) -> Account:
        """The sub-account that `vaultAddress` names, or the master itself."""
        if vault is None:
            return account
        address = "0x" + str(vault).lower().removeprefix("0x")
        target = self.ex.accounts.get(address)
        if target is None or target.master != account.address:
            raise Denied(f"Vault not registered: {vault}")
        return target

    def _may_sign(self, signer: str, kind: str) -> None:
        if kind not in MASTER_ONLY or signer in self.ex.accounts:
            return
        if kind == "reserveRequestWeight" and self.ex.switches["reserve_weight_signer"] == "any":
            return
        raise Denied(f"Must deposit before performing actions. User: {signer}")

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
        items = BATCHES.get(kind)
        return 1 if items is None else max(len(action[items]), 1)

    def _spend(self, account: Account, weight: int, kind: str) -> None:
        """The address budget: 10000 actions and one more for each USDC traded; cancels have more.

        Exhausted, one action passes every 10 s. A refused action costs nothing.
        """
        if self.ex.limits:
            cap = FREE_REQUESTS + int(account.volume)
            if kind.startswith("cancel"):
                cap = min(cap + 100_000, cap * 2)
            used = max(account.requests_used - account.requests_reserved, 0) + weight
            waited = self.ex.now - account.last_action_ms
            if used > cap and waited < EXHAUSTED_GAP_MS:
                raise Denied(
                    f"Too many cumulative requests sent ({used} > {cap}) for cumulative volume "
                    f"traded ${near(account.volume, _CENT)}. Place taker orders to free "
                    "up 1 request per USDC traded."
                )
            if account.unified:
                self._spend_of_day(account, weight)
        account.requests_used += weight
        account.last_action_ms = self.ex.now
        self.ex.meters.act(account.address, self.ex.now, weight, kind)

    def _spend_of_day(self, account: Account, weight: int) -> None:
        """Unified and portfolio accounts have 50,000 actions a day."""
        now = self.ex.now
        begun, count = account.day_actions or (0, 0)
        if self.ex.switches["action_day"] == "utc":
            over = now // DAY_MS != begun // DAY_MS
        else:
            over = now - begun >= DAY_MS
        if over:
            begun, count = now, 0
        if count + weight > POOLED_ACTIONS_A_DAY:
            raise Denied(f"Too many actions today ({count + weight} > {POOLED_ACTIONS_A_DAY}).")
        account.day_actions = [begun, count + weight]
