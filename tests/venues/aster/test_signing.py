"""Signatures against eth-account's typed data, Python's own hmac, and the recorded vectors."""

import hashlib
import hmac
import json
import random
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils import keccak

from carry.base.secrets import Secret
from carry.venues.aster.constants import CHAIN_IDS, Network
from carry.venues.aster.signing import (
    AgentSigner,
    HmacSigner,
    digest,
    form,
    hmac_hex,
    struct_hash,
)
from carry.venues.keys import AgentKey, Signature, SignatureMismatch

RECORDED = Path(__file__).parents[3].parent / "shared/data/aster/signature_vectors.json"
USER = "0x" + "ab" * 20
# Long, awkward and empty values; what a batch sends; a symbol beyond ASCII.
VALUES = ("BTCUSDT", "0.001", "", "a b&c=d%", '["1","2"]', "币安人生USDT", "x" * 300, "+/~._-*")


def typed(msg: str, chain_id: int) -> Any:
    """The same message by another library's way."""
    return encode_typed_data(
        full_message={
            "types": {
                "EIP712Domain": [
                    {"name": "name", "type": "string"},
                    {"name": "version", "type": "string"},
                    {"name": "chainId", "type": "uint256"},
                    {"name": "verifyingContract", "type": "address"},
                ],
                "Message": [{"name": "msg", "type": "string"}],
            },
            "primaryType": "Message",
            "domain": {
                "name": "AsterSignTransaction",
                "version": "1",
                "chainId": chain_id,
                "verifyingContract": "0x" + "0" * 40,
            },
            "message": {"msg": msg},
        }
    )


def drawn(seed: int) -> tuple[list[tuple[str, str]], int, Network]:
    """A random request, its nonce and its network."""
    draw = random.Random(seed)
    count = draw.randrange(0, 9)
    params = [(f"p{n}", draw.choice((*VALUES, str(draw.random())))) for n in range(count)]
    return params, draw.randrange(10**15, 2 * 10**15), draw.choice(tuple(Network))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_thousand_requests_hash_as_eth_account_does() -> None:
    for seed in range(10_000):
        params, nonce, network = drawn(seed)
        msg = form([*params, ("nonce", str(nonce)), ("user", USER)])
        expected = typed(msg, CHAIN_IDS[network])
        assert struct_hash(msg) == expected.body
        whole = keccak(b"\x19\x01" + expected.header + expected.body)
        assert digest(msg, CHAIN_IDS[network]) == whole


def test_signatures_are_eth_accounts_and_cover_the_text_that_is_sent() -> None:
    for seed in range(300):
        params, nonce, network = drawn(seed)
        secret = bytes([seed % 250 + 1]) * 32
        text = AgentSigner(AgentKey(secret), USER, network).signed(params, nonce)
        msg, _, signature = text.rpartition("&signature=")
        address = Account.from_key(secret).address.lower()
        assert msg == urlencode(
            [*params, ("nonce", str(nonce)), ("user", USER), ("signer", address)]
        ), "insertion order, nothing sorted"
        signed = Account.from_key(secret).sign_message(typed(msg, CHAIN_IDS[network]))
        assert signature == "0x" + signed.signature.hex().removeprefix("0x")


def vectors() -> dict[str, Any]:
    """The recorded vectors; in a checkout without them the same ones, made by eth-account."""
    if RECORDED.exists():
        found: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
        return found
    key = "0x" + "47" * 32
    made: dict[str, Any] = {"privateKey": key, "eip712_v3": {}, "hmac_v1": []}
    for seed in range(20):
        params, nonce, network = drawn(seed)
        msg = urlencode([*params, ("nonce", str(nonce))])
        message = typed(msg, CHAIN_IDS[network])
        made["eip712_v3"][str(seed)] = {
            "chainId": CHAIN_IDS[network],
            "msg": msg,
            "structHash": "0x" + message.body.hex(),
            "digest": "0x" + keccak(b"\x19\x01" + message.header + message.body).hex(),
            "signature": "0x"
            + Account.from_key(key).sign_message(message).signature.hex().removeprefix("0x"),
        }
        secret = f"secret{seed}"
        made["hmac_v1"].append(
            {
                "secret": secret,
                "payload": msg,
                "signature": hmac.new(secret.encode(), msg.encode(), hashlib.sha256).hexdigest(),
            }
        )
    return made


def test_all_vectors() -> None:
    found = vectors()
    key = AgentKey(found["privateKey"])
    for vector in found["eip712_v3"].values():
        assert "0x" + struct_hash(vector["msg"]).hex() == vector["structHash"]
        whole = digest(vector["msg"], vector["chainId"])
        assert "0x" + whole.hex() == vector["digest"]
        made = key.sign(whole)
        assert f"{made.r}{made.s[2:]}{made.v:02x}" == vector["signature"]
    for vector in found["hmac_v1"]:
        assert hmac_hex(Secret(vector["secret"]), vector["payload"]) == vector["signature"]
    assert found["eip712_v3"]
    assert found["hmac_v1"]


def test_the_dead_variant_is_not_what_we_make() -> None:
    """Until January 2026 a sorted JSON text was signed; nothing of it is left."""
    text = AgentSigner(AgentKey("0x" + "47" * 32), USER, Network.MAINNET).signed(
        [("symbol", "B"), ("a", "1")], 7
    )
    assert text.startswith("symbol=B&a=1&nonce=7&user=")


def test_hmac_carries_milliseconds_and_the_window() -> None:
    signer = HmacSigner(Secret("key"), Secret("secret"), 4_000)
    text = signer.signed([("symbol", "BTCUSDT")], 1_700_000_000_123_456)
    params = dict(parse_qsl(text))
    assert (params["recvWindow"], params["timestamp"]) == ("4000", "1700000000123")
    assert text.endswith("&signature=" + hmac_hex(Secret("secret"), text.rpartition("&sig")[0]))
    assert signer.headers == {"X-MBX-APIKEY": "key"}


def test_a_signature_that_is_not_ours_is_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    other = AgentKey("0x" + "48" * 32)

    def signed(hashed: bytes) -> Signature:
        made = Account.from_key("0x" + "49" * 32).unsafe_sign_hash(hashed)
        return Signature(f"0x{made.r:064x}", f"0x{made.s:064x}", made.v)

    monkeypatch.setattr(AgentKey, "sign", lambda self, hashed: signed(hashed))
    with pytest.raises(SignatureMismatch, match=other.address):
        AgentSigner(other, USER, Network.MAINNET).signed([], 1)
