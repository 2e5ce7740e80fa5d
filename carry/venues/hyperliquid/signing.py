"""Signatures of the venue's L1 actions (orders, cancels, leverage, noop), and the agent's key.

connectionId = keccak(msgpack(action) + nonce + vault + expiry); what is signed is the EIP-712 hash
of Agent(source, connectionId) in the domain Exchange/1/1337 on both networks; `source` alone tells
them apart. Source: official Python SDK 0.24.0, `hyperliquid/utils/signing.py`.
"""

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec
from coincurve import PrivateKey, PublicKey
from Crypto.Hash import keccak as _keccak

from .constants import Network

_REDACTED = "<redacted>"
_pack = msgspec.msgpack.Encoder().encode


class SignatureMismatch(Exception):
    """A signature does not recover to the agent: key, hash or machine is broken. Not sent."""


def keccak(data: bytes) -> bytes:
    """Keccak-256 as Ethereum uses it (before the SHA-3 padding was fixed)."""
    return _keccak.new(digest_bits=256, data=data).digest()


def domain_separator(name: str, chain_id: int) -> bytes:
    """EIP-712 domain of version "1" whose verifying contract is the zero address."""
    kinds = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    return keccak(
        keccak(kinds)
        + keccak(name.encode())
        + keccak(b"1")
        + chain_id.to_bytes(32, "big")
        + bytes(32)
    )


_L1_PREFIX = b"\x19\x01" + domain_separator("Exchange", 1337)
_AGENT_TYPE = keccak(b"Agent(string source,bytes32 connectionId)")
_AGENT_PREFIX: Mapping[Network, bytes] = {
    Network.MAINNET: _AGENT_TYPE + keccak(b"a"),
    Network.TESTNET: _AGENT_TYPE + keccak(b"b"),
}


def address_bytes(address: str) -> bytes:
    """The 20 bytes of `0x` + 40 hex."""
    raw = bytes.fromhex(address.removeprefix("0x"))
    if len(raw) != 20:
        raise ValueError(f"{address!r} is not an address: 0x and 40 hex digits are needed")
    return raw


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


@attrs.frozen
class Signature:
    """`r`, `s` as 0x + 64 hex, `v` 27 or 28: what the envelope carries."""

    r: str
    s: str
    v: int


class AgentKey:
    """A private key that never shows itself. `address`: lowercase, 0x + 40 hex."""

    __slots__ = ("_key", "_public", "address")

    def __init__(self, secret: str | bytes) -> None:
        problem = ""
        try:
            raw = secret
            if isinstance(raw, str):
                raw = bytes.fromhex(raw.strip().removeprefix("0x"))
            if len(raw) != 32:
                problem = f"it has {len(raw)} bytes, 32 are needed"
            else:
                self._key = PrivateKey(raw)
        except ValueError:
            problem = "it is not hexadecimal, or not a key of the curve"
        # Raised outside of the handler, so that no traceback carries the text of the key.
        if problem:
            raise ValueError(f"the agent key cannot be used: {problem}")
        self._public = self._key.public_key.format(compressed=False)
        self.address = address_of(self._public)

    def sign(self, digest: bytes) -> Signature:
        """Sign 32 bytes (RFC 6979: the same digest always gives the same signature)."""
        raw = self._key.sign_recoverable(digest, hasher=None)
        return Signature("0x" + raw[:32].hex(), "0x" + raw[32:64].hex(), 27 + raw[64])

    def made(self, signature: Signature, digest: bytes) -> bool:
        """Whether `signature` over `digest` recovers to this key."""
        try:
            raw = bytes.fromhex(signature.r[2:]) + bytes.fromhex(signature.s[2:])
            recovered = PublicKey.from_signature_and_message(
                raw + bytes([signature.v - 27]), digest, hasher=None
            )
        except Exception:  # the library raises its own kinds for bytes that are no signature
            return False
        return recovered.format(compressed=False) == self._public

    def __repr__(self) -> str:
        return _REDACTED

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return _REDACTED

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (_REDACTED,)


def address_of(public: bytes) -> str:
    """The address of an uncompressed public key (65 bytes)."""
    return "0x" + keccak(public[1:])[12:].hex()


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
