"""Signatures of the venue's L1 actions (orders, cancels, leverage, noop), and the agent's key.

connectionId = keccak(msgpack(action) + nonce + vault + expiry); what is signed is the EIP-712 hash
of Agent(source, connectionId) in the domain Exchange/1/1337 on both networks; `source` alone tells
them apart. Source: official Python SDK 0.24.0, `hyperliquid/utils/signing.py`.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from carry.venues.keys import (
    AgentKey,
    Signature,
    SignatureMismatch,
    address_bytes,
    domain_separator,
    keccak,
)

from .constants import Network

_pack = msgspec.msgpack.Encoder().encode

_L1_PREFIX = b"\x19\x01" + domain_separator("Exchange", 1337)
_AGENT_TYPE = keccak(b"Agent(string source,bytes32 connectionId)")
_AGENT_PREFIX: Mapping[Network, bytes] = {
    Network.MAINNET: _AGENT_TYPE + keccak(b"a"),
    Network.TESTNET: _AGENT_TYPE + keccak(b"b"),
}


def action_hash(
    action: Mapping[str, Any], nonce: int, vault: str | None, expires_ms: int | None
) -> bytes:
    """The connectionId. The order of the keys of `action` is part of what is hashed."""
    data = _pack(action) + nonce.to_bytes(8, "big")
    data += b"\x00" if vault is None else b"\x01" + address_bytes(vault)
    if expires_ms is not None:
        data += b"\x00" + expires_ms.to_bytes(8, "big")
    return keccak(data)


def l1_digest(connection_id: bytes, network: Network) -> bytes:
    """The 32 bytes that the key signs."""
    return keccak(_L1_PREFIX + keccak(_AGENT_PREFIX[network] + connection_id))


class _Envelope(msgspec.Struct):
    action: dict[str, Any]
    nonce: int
    signature: dict[str, Any]
    vaultAddress: str | None
    expiresAfter: int | None


_envelope = msgspec.json.Decoder(_Envelope)
_json = msgspec.json.Encoder().encode


class Signer:
    """Turns an action into the bytes to post: signed for one network, checked before they leave."""

    def __init__(self, key: AgentKey, network: Network, vault: str | None = None) -> None:
        self._key, self._network, self._vault = key, network, vault

    @property
    def address(self) -> str:
        """The agent's address, lowercase."""
        return self._key.address

    def acting_for(self, account: str) -> "Signer":
        """The same key for a sub-account of its master (`vaultAddress`)."""
        return Signer(self._key, self._network, account)

    def sign(self, action: Mapping[str, Any], nonce: int, expires_ms: int | None) -> Signature:
        digest = l1_digest(action_hash(action, nonce, self._vault, expires_ms), self._network)
        return self._key.sign(digest)

    def envelope(self, action: Mapping[str, Any], nonce: int, expires_ms: int | None) -> bytes:
        """The body of `POST /exchange`; raises `SignatureMismatch` when it would not be ours.

        What is checked is the finished body, read back: so a difference between the bytes hashed
        and the bytes sent, the venue's "User or API Wallet 0x... does not exist", is caught here.
        """
        signature = self.sign(action, nonce, expires_ms)
        body = _json(
            {
                "action": action,
                "nonce": nonce,
                "signature": {"r": signature.r, "s": signature.s, "v": signature.v},
                "vaultAddress": self._vault,
                "expiresAfter": expires_ms,
            }
        )
        seen = _envelope.decode(body)
        sent = Signature(seen.signature["r"], seen.signature["s"], seen.signature["v"])
        hashed = action_hash(seen.action, seen.nonce, seen.vaultAddress, seen.expiresAfter)
        if not self._key.made(sent, l1_digest(hashed, self._network)):
            raise SignatureMismatch(
                f"the signature of a {action.get('type')} does not recover to agent {self.address}"
            )
        return body
