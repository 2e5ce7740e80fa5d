"""`/exchange`: USDC and tokens between wallets, accounts, sub-accounts, the vault and outside."""

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from .accounts import Account, Balance
from .answers import Denied, Reply, done
from .assets import USDC_TOKEN
from .margin import spot_hold
from .text import USD6, ZERO, near, read_decimal, wire

if TYPE_CHECKING:
    from .model import Exchange

ACTIVATION_FEE = Decimal(1)
"""What the first transfer to an address nobody has seen costs its sender, in the quote token."""

WITHDRAWAL_FEE = Decimal(1)
DAY_MS = 86_400_000
VAULT = "0xdfc24b077bc1425ad1dea75bcb6f8158e10df303"
VAULT_LOCK_MS = 4 * DAY_MS
DISABLED = "Action disabled when unified account is active"
ONLY_SPOT = "Unified account only supports sending assets through spot"
PERPS = ""
SPOT = "spot"
_MICRO = Decimal("0.000001")


class Transfers:
    """Handlers of what moves money. Each leaves a row in the ledger of everyone it touched."""

    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange

    def handlers(self) -> dict[str, Callable[[Account, Reply, str], Reply]]:
        return {
            "usdClassTransfer": self._usd_class_transfer,
            "agentSendAsset": self._agent_send_asset,
            "sendAsset": self._send_asset,
            "usdSend": self._usd_send,
            "spotSend": self._spot_send,
            "withdraw3": self._withdraw,
            "subAccountTransfer": self._sub_account_transfer,
            "subAccountSpotTransfer": self._sub_account_spot_transfer,
            "vaultTransfer": self._vault_transfer,
        }

    # Between the wallets of one user.

    def _usd_class_transfer(self, account: Account, action: Reply, signer: str) -> Reply:
        """`amount` may name a sub-account: "1 subaccount:0x.."."""
        text, _, sub = action["amount"].partition(" subaccount:")
        if sub:
            account = self._own_sub(account, sub)
        if account.unified:
            raise Denied(DISABLED)
        amount = _amount(text, 6)
        to_perp = action["toPerp"] is True
        self._take(account, USDC_TOKEN, amount, SPOT if to_perp else PERPS)
        self._put(account, USDC_TOKEN, amount, PERPS if to_perp else SPOT)
        row = {"type": "accountClassTransfer", "usdc": wire(amount), "toPerp": to_perp}
        self._note(row, account)
        return done()

    def _agent_send_asset(self, account: Account, action: Reply, signer: str) -> Reply:
        if action["nonce"] is not None and not isinstance(action["nonce"], int):
            raise ValueError(action["nonce"])
        target = self.ex.accounts.get(action["destination"].lower())
        source = account
        if action["fromSubAccount"]:
            source = self._own_sub(account, action["fromSubAccount"])
        if target is None or account.address not in (target.address, target.master):
            raise Denied("Agent can only send asset to same user or their sub-accounts.")
        return self._send(source, target.address, action)

    def _send_asset(self, account: Account, action: Reply, signer: str) -> Reply:
        source = account
        if action["fromSubAccount"]:
            source = self._own_sub(account, action["fromSubAccount"])
        return self._send(source, action["destination"].lower(), action)

    def _send(self, source: Account, destination: str, action: Reply) -> Reply:
        """From a wallet of one account to a wallet of another, or of the same."""
        here, there = action["sourceDex"], action["destinationDex"]
        if not self.ex.is_address(destination) or {here, there} - {PERPS, SPOT}:
            raise Denied("Invalid send")
        known = self.ex.accounts.get(destination)
        own = destination == source.address
        if (source.unified and here != SPOT) or (known and known.unified and there != SPOT):
            raise Denied(ONLY_SPOT)
        if own and source.unified:
            return done()
        if own and here == there:
            raise Denied("Invalid send")
        token = self._token(action["token"])
        perps = PERPS in (here, there)
        if perps and token != USDC_TOKEN:
            raise Denied("Invalid send")
        amount = _amount(action["amount"], 6 if perps else self.ex.wei_decimals[token])
        fee = self._activation(destination)
        if token == USDC_TOKEN:
            self._take(source, token, amount + fee, here)
            target = self.ex.account_for(destination)
            self._put(target, token, amount, there)
        else:
            if fee:
                self._take(source, USDC_TOKEN, fee, SPOT, gas=True)
            target = self._hand_over(source, destination, token, amount)
        self.ex.house.collect(USDC_TOKEN, fee)
        self._note(
            {
                "type": "send", "user": source.address, "destination": destination,
                "sourceDex": here, "destinationDex": there, "token": self.ex.token_names[token],
                "amount": wire(amount), "usdcValue": self._worth(token, amount),
                "fee": wire(fee), "nativeTokenFee": "0.0", "nonce": action["nonce"],
                "feeToken": "USDC" if fee else "",
            },
            source, target,
        )
        return done()

    # To others.

    def _usd_send(self, account: Account, action: Reply, signer: str) -> Reply:
        """Perp USDC to another user."""
        if account.unified:
            raise Denied(DISABLED)
        amount, to = _amount(action["amount"], 6), action["destination"].lower()
        if not self.ex.is_address(to):
            raise Denied("Invalid send")
        fee = self._activation(to)
        self._take(account, USDC_TOKEN, amount + fee, PERPS)
        self.ex.house.collect(USDC_TOKEN, fee)
        target = self.ex.account_for(to)
        self._put(target, USDC_TOKEN, amount, SPOT if target.unified else PERPS)
        self._note(
            {
                "type": "internalTransfer", "usdc": wire(amount), "user": account.address,
                "destination": to, "fee": wire(fee),
            },
            account, target,
        )
        return done()

    def _spot_send(self, account: Account, action: Reply, signer: str) -> Reply:
        """A spot token to another user, by "NAME:tokenId"."""
        if account.unified and self.ex.switches["unified_spot_send"] == "refused":
            raise Denied(DISABLED)
        to = action["destination"].lower()
        token = self._token(action["token"])
        if not self.ex.is_address(to):
            raise Denied("Invalid send")
        self._spot_transfer(account, to, token, action["amount"], action["time"])
        return done()

    def _spot_transfer(
        self, account: Account, to: str, token: int, text: object, nonce: object
    ) -> None:
        amount = _amount(text, self.ex.wei_decimals[token])
        fee = self._activation(to)
        if fee and token == USDC_TOKEN:
            self._take(account, token, amount + fee, SPOT)
            target = self.ex.account_for(to)
            self._put(target, token, amount, SPOT)
        else:
            if fee:
                self._take(account, USDC_TOKEN, fee, SPOT, gas=True)
            target = self._hand_over(account, to, token, amount)
        self.ex.house.collect(USDC_TOKEN, fee)
        self._note(
            {
                "type": "spotTransfer", "token": self.ex.token_names[token],
                "amount": wire(amount), "usdcValue": self._worth(token, amount),
                "user": account.address, "destination": to, "fee": wire(fee),
                "nativeTokenFee": "0.0", "nonce": nonce, "feeToken": "USDC" if fee else "",
            },
            account, target,
        )

    def _withdraw(self, account: Account, action: Reply, signer: str) -> Reply:
        """USDC out of the venue; the fee of 1 is taken out of the amount."""
        amount = _amount(action["amount"], 6)
        if amount <= WITHDRAWAL_FEE or not self.ex.is_address(action["destination"].lower()):
            raise Denied("Invalid withdrawal")
        wallet = SPOT if account.unified else PERPS
        self._take(account, USDC_TOKEN, amount, wallet, withdrawal=True)
        self.ex.house.collect(USDC_TOKEN, WITHDRAWAL_FEE)
        self.ex.house.pay_in(USDC_TOKEN, WITHDRAWAL_FEE - amount)
        self._note(
            {
                "type": "withdraw", "usdc": wire(amount), "nonce": action["time"],
                "fee": wire(WITHDRAWAL_FEE),
            },
            account,
        )
        return done()

    # Sub-accounts and the vault.

    def _own_sub(self, account: Account, address: object) -> Account:
        sub = self.ex.accounts.get(str(address).lower())
        if sub is None or sub.master != account.address:
            raise Denied(f"Sub-account not registered: {address}")
        return sub

    def _sub_account_transfer(self, account: Account, action: Reply, signer: str) -> Reply:
        """Perp USDC to or from a sub-account; `usd` is in 1e-6."""
        sub = self._own_sub(account, action["subAccountUser"])
        if account.unified or sub.unified:
            raise Denied(DISABLED)
        if not isinstance(action["usd"], int) or action["usd"] <= 0:
            raise Denied("Invalid send")
        amount = action["usd"] * _MICRO
        source, target = (account, sub) if action["isDeposit"] is True else (sub, account)
        self._take(source, USDC_TOKEN, amount, PERPS)
        self._put(target, USDC_TOKEN, amount, PERPS)
        self._note(
            {
                "type": "subAccountTransfer", "usdc": wire(amount), "user": source.address,
                "destination": target.address,
            },
            source, target,
        )
        return done()

    def _sub_account_spot_transfer(self, account: Account, action: Reply, signer: str) -> Reply:
        sub = self._own_sub(account, action["subAccountUser"])
        if account.unified or sub.unified:
            raise Denied(DISABLED)
        source, target = (account, sub) if action["isDeposit"] is True else (sub, account)
        token = self._token(action["token"])
        self._spot_transfer(source, target.address, token, action["amount"], None)
        return done()

    def _vault_transfer(self, account: Account, action: Reply, signer: str) -> Reply:
        """Into and out of the one vault there is; a deposit is locked for four days."""
        usd = action["usd"]
        if action["vaultAddress"].lower() != VAULT:
            raise Denied(f"Vault not registered: {action['vaultAddress']}")
        if account.unified:
            raise Denied(DISABLED)
        if not isinstance(usd, int) or usd <= 0:
            raise Denied("Invalid send")
        amount = usd * _MICRO
        if action["isDeposit"] is True:
            self._take(account, USDC_TOKEN, amount, PERPS)
            account.vault_usd += amount
            account.vault_ms = self.ex.now + VAULT_LOCK_MS
            row: Reply = {"type": "vaultDeposit", "vault": VAULT, "usdc": wire(amount)}
        else:
            if amount > account.vault_usd or self.ex.now < account.vault_ms:
                raise Denied("Cannot withdraw from vault: locked or insufficient equity.")
            account.vault_usd -= amount
            self._put(account, USDC_TOKEN, amount, PERPS)
            row = {
                "type": "vaultWithdraw", "vault": VAULT, "user": account.address,
                "requestedUsd": wire(amount), "commission": "0.0", "closingCost": "0.0",
                "basis": wire(amount), "netWithdrawnUsd": wire(amount),
            }
        self._note(row, account)
        return done()

    # The two halves of every move.

    def _take(
        self, account: Account, token: int, amount: Decimal, wallet: str, *,
        withdrawal: bool = False, gas: bool = False,
    ) -> None:
        """Takes `amount` out of a wallet, if it is free there. Raises Denied."""
        if wallet == PERPS:
            if amount > self.ex.summary(account).withdrawable:
                raise Denied("Insufficient balance for withdrawal")
            account.perp_cash -= amount
            return
        if amount > self._spot_free(account, token):
            text = "Insufficient balance for token transfer"
            if withdrawal:
                text = "Insufficient balance for withdrawal"
            raise Denied(text + (" gas" if gas else ""))
        account.spot[token].total -= amount

    def _spot_free(self, account: Account, token: int) -> Decimal:
        if token == USDC_TOKEN and account.unified:
            return max(ZERO, self.ex.spot_free(account, token))
        held = account.spot.get(token)
        return ZERO if held is None else held.total - spot_hold(account, token)

    def _put(self, account: Account, token: int, amount: Decimal, wallet: str) -> None:
        if wallet == PERPS and not account.unified:
            account.perp_cash += amount
        else:
            account.balance(token).total += amount

    def _hand_over(self, account: Account, to: str, token: int, amount: Decimal) -> Account:
        """A token changes hands with its share of the cost it was bought at."""
        mine = account.balance(token)
        share = mine.entry_ntl * amount / mine.total if mine.total else ZERO
        moved = near(share, Decimal("0.00000001"))
        self._take(account, token, amount, SPOT)
        mine.entry_ntl -= moved
        target = self.ex.account_for(to)
        theirs = target.spot.setdefault(token, Balance())
        theirs.total += amount
        theirs.entry_ntl += moved
        return target

    def _activation(self, address: str) -> Decimal:
        return ZERO if address in self.ex.accounts else ACTIVATION_FEE

    def _token(self, text: str) -> int:
        """The token of "NAME:tokenId" or of "NAME"."""
        name, _, token_id = text.partition(":")
        for index, known in self.ex.token_names.items():
            if known == name and token_id in ("", self.ex.token_ids[index]):
                return index
        raise Denied("Invalid send")

    def _worth(self, token: int, amount: Decimal) -> str:
        return wire(near(amount * self.ex.token_px(token), USD6))

    def _note(self, delta: Reply, *accounts: Account) -> None:
        row = {"time": self.ex.now, "hash": self.ex.block_hash(), "delta": delta}
        for account in dict.fromkeys(accounts):
            account.transfers.append(row)
            self.ex.streams.ledger(account.address, row)


def _amount(text: object, decimals: int) -> Decimal:
    amount = read_decimal(text)
    if amount is None or amount <= 0 or amount != round(amount, decimals):
        raise Denied("Invalid send")
    return amount
