"""Signatures of what only the master key may do: agents, transfers, account modes.

The action is the EIP-712 message; only the listed fields are hashed. Not used by the bot, which
holds an agent key; the tests hold it against the SDK. Source: official Python SDK 0.24.0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from eth_abi.abi import encode

from carry.venues.keys import AgentKey, Signature, domain_separator, keccak

Fields = Sequence[tuple[str, str]]
"""(type, name), in the order in which they are hashed."""

_TYPES: Mapping[str, tuple[str, Fields]] = {
    "usdSend": ("UsdSend", (("string", "destination"), ("string", "amount"), ("uint64", "time"))),
    "spotSend": (
        "SpotSend",
        (("string", "destination"), ("string", "token"), ("string", "amount"), ("uint64", "time")),
    ),
    "withdraw3": (
        "Withdraw",
        (("string", "destination"), ("string", "amount"), ("uint64", "time")),
    ),
    "usdClassTransfer": (
        "UsdClassTransfer",
        (("string", "amount"), ("bool", "toPerp"), ("uint64", "nonce")),
    ),
    "sendAsset": (
        "SendAsset",
        (
            ("string", "destination"),
            ("string", "sourceDex"),
            ("string", "destinationDex"),
            ("string", "token"),
            ("string", "amount"),
            ("string", "fromSubAccount"),
            ("uint64", "nonce"),
        ),
    ),
    "approveAgent": (
        "ApproveAgent",
        (("address", "agentAddress"), ("string", "agentName"), ("uint64", "nonce")),
    ),
    "userSetAbstraction": (
        "UserSetAbstraction",
        (("address", "user"), ("string", "abstraction"), ("uint64", "nonce")),
    ),
}


def user_digest(action: Mapping[str, Any]) -> bytes:
    """What the master key signs. `action` carries `signatureChainId` and `hyperliquidChain`."""
    name, fields = _TYPES[action["type"]]
    fields = (("string", "hyperliquidChain"), *fields)
    kinds = ",".join(f"{kind} {field}" for kind, field in fields)
    type_hash = keccak(f"HyperliquidTransaction:{name}({kinds})".encode())
    words = encode(
        ["bytes32" if kind == "string" else kind for kind, _ in fields],
        [
            keccak(action[field].encode()) if kind == "string" else action[field]
            for kind, field in fields
        ],
    )
    chain = int(action["signatureChainId"], 16)
    domain = domain_separator("HyperliquidSignTransaction", chain)
    return keccak(b"\x19\x01" + domain + keccak(type_hash + words))


def sign_user_action(key: AgentKey, action: Mapping[str, Any]) -> Signature:
    """Sign `action` with the key it belongs to (the master's, not an agent's)."""
    return key.sign(user_digest(action))
