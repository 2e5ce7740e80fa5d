"""Who signed: recovers the address behind an action, over the JSON as it was received.

Key order and number texts are hashed as sent. Three things the venue writes its own way before it
hashes, so that a client who differs recovers to a stranger: a false flag `f` or `a` is left out, a
`cloid` has its 0x and lower-case digits, an address field is lower case.
"""

from typing import Any

import coincurve
import msgspec
from Crypto.Hash import keccak

from carry.core.num import show

from .text import read_decimal

SOURCES = {"mainnet": "a", "testnet": "b"}
CHAINS = {"mainnet": "Mainnet", "testnet": "Testnet"}
_PACK = msgspec.msgpack.Encoder()


class BadSignature(Exception):
    """r, s, v recover to no key at all."""


def keccak256(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


_DOMAIN_TYPE = keccak256(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_AGENT_TYPE = keccak256(b"Agent(string source,bytes32 connectionId)")


def _domain(name: str, chain_id: int) -> bytes:
    return keccak256(
        _DOMAIN_TYPE
        + keccak256(name.encode())
        + keccak256(b"1")
        + chain_id.to_bytes(32, "big")
        + bytes(32)
    )


_L1_DOMAIN = _domain("Exchange", 1337)
_SOURCE_HASH = {network: keccak256(source.encode()) for network, source in SOURCES.items()}

_STRING, _ADDRESS, _BOOL, _UINT64 = "string", "address", "bool", "uint64"
USER_SIGNED: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "usdSend": (
        "UsdSend", ((_STRING, "destination"), (_STRING, "amount"), (_UINT64, "time"))
    ),
    "spotSend": (
        "SpotSend",
        ((_STRING, "destination"), (_STRING, "token"), (_STRING, "amount"), (_UINT64, "time")),
    ),
    "withdraw3": (
        "Withdraw", ((_STRING, "destination"), (_STRING, "amount"), (_UINT64, "time"))
    ),
    "usdClassTransfer": (
        "UsdClassTransfer", ((_STRING, "amount"), (_BOOL, "toPerp"), (_UINT64, "nonce"))
    ),
    "sendAsset": (
        "SendAsset",
        (
            (_STRING, "destination"), (_STRING, "sourceDex"), (_STRING, "destinationDex"),
            (_STRING, "token"), (_STRING, "amount"), (_STRING, "fromSubAccount"),
            (_UINT64, "nonce"),
        ),
    ),
    "approveAgent": (
        "ApproveAgent", ((_ADDRESS, "agentAddress"), (_STRING, "agentName"), (_UINT64, "nonce"))
    ),
    "approveBuilderFee": (
        "ApproveBuilderFee", ((_STRING, "maxFeeRate"), (_ADDRESS, "builder"), (_UINT64, "nonce"))
    ),
    "userDexAbstraction": (
        "UserDexAbstraction", ((_ADDRESS, "user"), (_BOOL, "enabled"), (_UINT64, "nonce"))
    ),
    "tokenDelegate": (
        "TokenDelegate",
        (
            (_ADDRESS, "validator"), (_UINT64, "wei"), (_BOOL, "isUndelegate"),
            (_UINT64, "nonce"),
        ),
    ),
    "convertToMultiSigUser": (
        "ConvertToMultiSigUser", ((_STRING, "signers"), (_UINT64, "nonce"))
    ),
    "userSetAbstraction": (
        "UserSetAbstraction", ((_ADDRESS, "user"), (_STRING, "abstraction"), (_UINT64, "nonce"))
    ),
}
"""action type -> (primary type, hashed fields after `hyperliquidChain`, in order)."""


def connection_id(
    action: dict[str, Any], nonce: int, vault: str | None, expires_after: int | None, *,
    canonical: bool = False,
) -> bytes:
    """keccak of msgpack(action), nonce, vault and expiry, as the venue concatenates them.

    canonical: number texts of orders are written anew first ("2000.0" becomes "2000").
    """
    form = _venue_form(action)
    if canonical:
        form = _plain_numbers(form)
    data = _PACK.encode(form) + nonce.to_bytes(8, "big")
    data += b"\x00" if vault is None else b"\x01" + bytes.fromhex(vault.removeprefix("0x"))
    if expires_after is not None:
        data += b"\x00" + expires_after.to_bytes(8, "big")
    return keccak256(data)


def l1_digest(hash_: bytes, network: str) -> bytes:
    """What an L1 action's signature signs: an EIP-712 `Agent` holding the hash."""
    struct = keccak256(_AGENT_TYPE + _SOURCE_HASH[network] + hash_)
    return keccak256(b"\x19\x01" + _L1_DOMAIN + struct)


def user_digest(action: dict[str, Any]) -> bytes:
    """What a user-signed action's signature signs. Raises KeyError, ValueError on a bad shape."""
    primary, fields = USER_SIGNED[action["type"]]
    fields = ((_STRING, "hyperliquidChain"), *fields)
    kind = f"HyperliquidTransaction:{primary}"
    text = kind + "(" + ",".join(f"{type_} {name}" for type_, name in fields) + ")"
    encoded = keccak256(text.encode())
    for type_, name in fields:
        # Unnamed agents are signed with an empty name and posted without one.
        value = action.get(name, "") if name == "agentName" else action[name]
        encoded += _encode(type_, value)
    chain = int(action["signatureChainId"], 16)
    return keccak256(
        b"\x19\x01" + _domain("HyperliquidSignTransaction", chain) + keccak256(encoded)
    )


def recover(digest: bytes, signature: dict[str, Any]) -> str:
    """The signer's address, lower case. r and s are integers: leading zeros may be missing."""
    try:
        r, s = int(signature["r"], 16), int(signature["s"], 16)
        v = int(signature["v"])
        raw = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([v - 27 if v >= 27 else v])
        key = coincurve.PublicKey.from_signature_and_message(raw, digest, hasher=None)
    except Exception as error:
        # libsecp256k1 raises bare Exception for a point that is not on the curve.
        raise BadSignature(str(error)) from error
    return "0x" + keccak256(key.format(compressed=False)[1:])[12:].hex()


def _encode(type_: str, value: Any) -> bytes:
    if type_ == _STRING:
        if not isinstance(value, str):
            raise ValueError(f"not a string: {value!r}")
        return keccak256(value.encode())
    if type_ == _ADDRESS:
        return bytes.fromhex(value.removeprefix("0x")).rjust(32, b"\x00")
    return int(value).to_bytes(32, "big")


def _venue_form(action: dict[str, Any]) -> dict[str, Any]:
    """The action as the venue itself would write it (see the module)."""
    form = action
    for flag in ("f", "a"):
        if form.get(flag) is False:
            form = {k: v for k, v in form.items() if k != flag}
    kind = form.get("type")
    if kind == "order":
        form = {**form, "orders": [_with_cloid(order, "c") for order in form["orders"]]}
    elif kind == "cancelByCloid":
        form = {**form, "cancels": [_with_cloid(item, "cloid") for item in form["cancels"]]}
    return form


def _plain_numbers(value: Any) -> Any:
    """`value` with the texts of prices and sizes in their shortest form."""
    if isinstance(value, list):
        return [_plain_numbers(item) for item in value]
    if not isinstance(value, dict):
        return value
    form = {key: _plain_numbers(item) for key, item in value.items()}
    for key in ("p", "s", "triggerPx"):
        number = read_decimal(form.get(key))
        if number is not None:
            form[key] = show(number)
    return form


def _with_cloid(item: Any, key: str) -> Any:
    if not isinstance(item, dict) or not isinstance(item.get(key), str):
        return item
    cloid: str = item[key].lower()
    if not cloid.startswith("0x"):
        cloid = "0x" + cloid
    return item if cloid == item[key] else {**item, key: cloid}
