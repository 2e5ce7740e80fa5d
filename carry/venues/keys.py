"""Keys and hashes of Ethereum as the venues use them: keccak, EIP-712 domains, an agent's key."""

import attrs
from coincurve import PrivateKey, PublicKey
from Crypto.Hash import keccak as _keccak

_REDACTED = "<redacted>"


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


def address_bytes(address: str) -> bytes:
    """The 20 bytes of `0x` + 40 hex."""
    raw = bytes.fromhex(address.removeprefix("0x"))
    if len(raw) != 20:
        raise ValueError(f"{address!r} is not an address: 0x and 40 hex digits are needed")
    return raw


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
