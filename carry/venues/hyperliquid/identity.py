"""Who trades for whom: the roles of the account and of the key, and what is wrong with them.

Reads of an agent's address, of an address of another network or of a mistyped one succeed and are
empty, like a flat account; so roles are asked for before anything is believed. Pure.
Source: hyperliquid-docs, nonces-and-api-wallets, info-endpoint (userRole).
"""

from collections.abc import Sequence

import attrs

from carry.venues.base import Identity

from .account import Agent
from .constants import Network


@attrs.frozen(kw_only=True)
class Role:
    """The answer to `userRole`. owner: whose agent or sub-account it is, lowercase."""

    word: str
    owner: str | None = None


def judge(
    *,
    network: Network,
    account: str,
    role: Role,
    agent: str | None,
    agent_role: Role | None,
    agents: Sequence[Agent],
    now_ms: int,
) -> Identity:
    """What the venue says of account and key. Addresses lowercase; agents: of the master."""
    master = role.owner if role.word == "subAccount" else None
    mine = next((one for one in agents if one.address.lower() == agent), None)
    problem = _of_account(network, account, role)
    if problem is None and agent is not None and agent_role is not None:
        until_ms = None if mine is None else mine.validUntil
        problem = _of_agent(network, master or account, agent, agent_role, until_ms, now_ms)
    return Identity(
        account=account,
        role=role.word,
        master=master,
        agent=agent,
        agent_name=None if mine is None else mine.name,
        valid_until_at_ms=None if mine is None else mine.validUntil,
        problem=problem,
    )


def _of_account(network: Network, account: str, role: Role) -> str | None:
    match role.word:
        case "user" | "subAccount":
            return None
        case "agent":
            return (
                f"agent used as account: {account} is an agent of {role.owner}; its own balances "
                f"are empty. Set account.address to {role.owner}"
            )
        case "missing":
            return (
                f"wrong network or address: {network.value} knows no account {account}. Check "
                "venue.network and account.address, and deposit first"
            )
        case "vault":
            return f"vault used as account: {account} is a vault; trade an account or sub-account"
        case word:
            return f"unknown role: the venue calls {account} {word!r}; that is none to trade with"


def _of_agent(
    network: Network,
    owner: str,
    agent: str,
    role: Role,
    until_ms: int | None,
    now_ms: int,
) -> str | None:
    approve = f"approve {agent} as API wallet of {owner} on {network.value}"
    if role.word == "missing":
        return f"agent not approved: {network.value} does not know {agent}; {approve}"
    if role.word != "agent":
        return (
            f"master key used as agent: {agent} is an account of its own ({role.word}), whose key "
            "can withdraw. Make a new key with `carry key new` and approve it"
        )
    if role.owner != owner:
        return (
            f"agent of another account: {agent} acts for {role.owner}, not for {owner}; {approve}"
        )
    if until_ms is not None and until_ms <= now_ms:
        return f"agent expired: {agent} was valid until {until_ms} ms; {approve} under a new key"
    return None
