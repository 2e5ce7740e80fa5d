"""Signatures of Aster's two ways in, over exactly the text that is sent.

V3: EIP-712 of `Message(string msg)` in the domain AsterSignTransaction/1, where `msg` is the form
text of the request as it leaves, unsorted, without the signature. V1: HMAC-SHA256 of the same.
Source: Aster API docs V3 "Authentication signature", V1 "Endpoint security type".
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import urlencode

from eth_abi.abi import encode as abi_encode

from carry.base.secrets import Secret
from carry.venues.keys import AgentKey, Signature, SignatureMismatch, domain_separator, keccak

from .constants import CHAIN_IDS, Network

Params = Sequence[tuple[str, str]]
"""Names and values of a request, in the order in which they are sent."""

_MESSAGE_TYPE: Final = keccak(b"Message(string msg)")
_SIGNATURE: Final = "&signature="


def form(params: Params) -> str:
    """The text of a request: form-encoded, in the given order.

    >>> form([("symbol", "BTCUSDT"), ("ids", '["a","b"]')])
    'symbol=BTCUSDT&ids=%5B%22a%22%2C%22b%22%5D'
    """
    return urlencode(params)


def struct_hash(msg: str) -> bytes:
    """EIP-712's hash of `Message{msg}`: a string is hashed before it is encoded."""
    return keccak(abi_encode(["bytes32", "bytes32"], [_MESSAGE_TYPE, keccak(msg.encode())]))


def digest(msg: str, chain_id: int) -> bytes:
    """The 32 bytes that the agent's key signs."""
    domain = domain_separator("AsterSignTransaction", chain_id)
    return keccak(b"\x19\x01" + domain + struct_hash(msg))


class Signer(Protocol):
    """One of the two ways in. `version`: of the paths it goes with."""

    version: int

    def signed(self, params: Params, nonce_us: int) -> str:
        """The whole text to send, the signature last. `nonce_us`: microseconds of the venue."""

    @property
    def headers(self) -> Mapping[str, str]: ...


class AgentSigner:
    """V3: an agent (API wallet) of `user` signs; the user's own key is never here."""

    version = 3
    headers: Mapping[str, str] = {}

    def __init__(self, key: AgentKey, user: str, network: Network) -> None:
        self._key, self._chain_id = key, CHAIN_IDS[network]
        self.user, self.address = user, key.address

    def signed(self, params: Params, nonce_us: int) -> str:
        """Raises `SignatureMismatch` when what would be sent does not recover to the agent."""
        more = (("nonce", str(nonce_us)), ("user", self.user), ("signer", self.address))
        msg = form((*params, *more))
        made = self._key.sign(digest(msg, self._chain_id))
        text = f"{msg}{_SIGNATURE}{made.r}{made.s[2:]}{made.v:02x}"
        if not self._holds(text):
            raise SignatureMismatch(
                f"the signature of a request does not recover to agent {self.address}"
            )
        return text

    def _holds(self, text: str) -> bool:
        """Whether the finished text, read as the venue reads it, is signed by our key."""
        msg, _, hexed = text.rpartition(_SIGNATURE)
        seen = Signature(hexed[:66], "0x" + hexed[66:130], int(hexed[130:132], 16))
        return self._key.made(seen, digest(msg, self._chain_id))


class HmacSigner:
    """V1: a key and a secret; no new ones are given out, those that exist still work."""

    version = 1

    def __init__(self, api_key: Secret, api_secret: Secret, recv_window_ms: int) -> None:
        self._key, self._secret, self._window_ms = api_key, api_secret, recv_window_ms

    @property
    def headers(self) -> Mapping[str, str]:
        return {"X-MBX-APIKEY": self._key.reveal()}

    def signed(self, params: Params, nonce_us: int) -> str:
        """`timestamp` is in milliseconds; in microseconds it is refused as far ahead."""
        more = (("recvWindow", str(self._window_ms)), ("timestamp", str(nonce_us // 1_000)))
        text = form((*params, *more))
        return text + _SIGNATURE + hmac_hex(self._secret, text)


def hmac_hex(secret: Secret, text: str) -> str:
    return hmac.new(secret.reveal().encode(), text.encode(), hashlib.sha256).hexdigest()
