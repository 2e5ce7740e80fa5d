"""Signatures against the venue's own SDK, its published vectors and the reference's."""

import copy
import json
import pickle
import random
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from eth_account import Account
from hyperliquid.utils import signing as sdk

from carry.venues.hyperliquid.constants import Network
from carry.venues.hyperliquid.signing import Signer, action_hash
from carry.venues.keys import AgentKey, Signature, SignatureMismatch
from tests.venues.hyperliquid.support import TEST_KEY, TEST_KEY_ADDRESS, recorded
from tests.venues.hyperliquid.user_signing import sign_user_action

V = "0x1719884eb866cb12b2287399b15f7db5e7d775ea"
N = 1_700_000_000_000
C1 = "0x00000000000000000000000000000001"


def limit(a: int, b: bool, p: str, s: str, tif: str, *, r: bool = False, c: str = "") -> Any:
    order = {"a": a, "b": b, "p": p, "s": s, "r": r, "t": {"limit": {"tif": tif}}}
    return order | ({"c": c} if c else {})


def orders(*rows: Any) -> Any:
    return {"type": "order", "orders": list(rows), "grouping": "na"}


def same(signature: Signature, r: str, s: str, v: int) -> bool:
    """The SDK drops leading zeros of r and s, we pad them: compared as numbers."""
    return (int(signature.r, 16), int(signature.s, 16), signature.v) == (int(r, 16), int(s, 16), v)


def test_the_published_worked_example() -> None:
    action = orders(limit(4, True, "1670.1", "0.0147", "Ioc"))
    expected = "0fcbeda5ae3c4950a548021552a4fea2226858c4453571bf3f24ba017eac2908"
    assert action_hash(action, 1677777606040, None, None).hex() == expected


@pytest.mark.parametrize(
    ("vault", "expires", "expected"),
    [
        (None, None, "25367e0dba84351148288c2233cd6130ed6cec5967ded0c0b7334f36f957cc90"),
        (
            "0x" + "1234567890" * 4,
            None,
            "214e2ea3270981b6fd18174216691e69f56872663139d396b10ded319cb4bb1e",
        ),
        (None, 1234567890, "c30b002ba3775e4c31c43c1dfd3291dfc85c6ae06c6b9f393991de86cad5fac7"),
        (
            "0x" + "1234567890" * 4,
            1234567890,
            "2d62412aa0fc57441b5189841d81554a6a9680bf07204e1454983a9ca44f0744",
        ),
    ],
)
def test_vault_and_expiry_enter_the_hash(
    vault: str | None, expires: int | None, expected: str
) -> None:
    action = orders(limit(0, True, "30000", "0.1", "Gtc"))
    assert action_hash(action, 1234567890, vault, expires).hex() == expected


DUMMY = {"type": "dummy", "num": 100000000000}
PINNED: list[tuple[str, Any, int, str | None, int | None, Network, str, str, int]] = [
    (
        "dummy main",
        DUMMY,
        0,
        None,
        None,
        Network.MAINNET,
        "0x53749d5b30552aeb2fca34b530185976545bb22d0b3ce6f62e31be961a59298",
        "0x755c40ba9bf05223521753995abb2f73ab3229be8ec921f350cb447e384d8ed8",
        27,
    ),
    (
        "dummy test",
        DUMMY,
        0,
        None,
        None,
        Network.TESTNET,
        "0x542af61ef1f429707e3c76c5293c80d01f74ef853e34b76efffcb57e574f9510",
        "0x17b8b32f086e8cdede991f1e2c529f5dd5297cbe8128500e00cbaf766204a613",
        28,
    ),
    (
        "dummy vault",
        DUMMY,
        0,
        V,
        None,
        Network.MAINNET,
        "0x3c548db75e479f8012acf3000ca3a6b05606bc2ec0c29c50c515066a326239",
        "0x4d402be7396ce74fbba3795769cda45aec00dc3125a984f2a9f23177b190da2c",
        28,
    ),
    (
        "order",
        orders(limit(1, True, "100", "100", "Gtc")),
        0,
        None,
        None,
        Network.MAINNET,
        "0xd65369825a9df5d80099e513cce430311d7d26ddf477f5b3a33d2806b100d78e",
        "0x2b54116ff64054968aa237c20ca9ff68000f977c93289157748a3162b6ea940e",
        28,
    ),
    (
        "order cloid",
        orders(limit(1, True, "100", "100", "Gtc", c=C1)),
        0,
        None,
        None,
        Network.TESTNET,
        "0xeba0664bed2676fc4e5a743bf89e5c7501aa6d870bdb9446e122c9466c5cd16d",
        "0x7f3e74825c9114bc59086f1eebea2928c190fdfbfde144827cb02b85bbe90988",
        28,
    ),
    (
        "spot with expiry",
        orders(limit(10142, True, "83843", "0.00123", "Ioc")),
        N,
        None,
        N + 10_000,
        Network.MAINNET,
        "0x91021fe7730843fe7d4961cdd58ac864271e29ae5df0e0d1ac0a9ec72ef330fc",
        "0x5df9d85ffb9a92ba094f1ecb4de3f7e70f4197619e89a6704751f887a55de0f5",
        27,
    ),
    (
        "cancel",
        {"type": "cancel", "cancels": [{"a": 0, "o": 77738308}]},
        N,
        None,
        None,
        Network.MAINNET,
        "0x2d25f8bb8b4dd16863fc6ebbfca6dbe41c256d6cafbcec7d9fca8caa03418e7",
        "0x669f38877442b2f5491e40229f7f2e9dc54cd3e8583cdce0bf468a9c51af27de",
        28,
    ),
    (
        "cancelByCloid",
        {"type": "cancelByCloid", "cancels": [{"asset": 0, "cloid": C1}]},
        N,
        None,
        None,
        Network.MAINNET,
        "0x80bc61ec5a6bd1931885c88ccb664ac5543ba861475262636445d21263b97318",
        "0x6bbfac7cec115672a533ce377a822433f48a320f1e3c3ce09d2f38184f82979c",
        27,
    ),
    (
        "updateLeverage",
        {"type": "updateLeverage", "asset": 0, "isCross": True, "leverage": 5},
        N,
        None,
        None,
        Network.MAINNET,
        "0x59856938ebc8b58127a0c2bfc4bbc88f81d5faec69beefdf05beeae649054a3f",
        "0x124a9e3dcb25662880e64a23bcb8accbb2e88e8986903fa39f8847b44a96c26e",
        27,
    ),
    (
        "noop",
        {"type": "noop"},
        N,
        None,
        None,
        Network.MAINNET,
        "0xa094d7afdcaffc2e2643f31df05a7594de12880e6558e17021d863c868a06972",
        "0x2ec74c7efddc03c04b04a660effe31f52ce3cddd2e0b80c68486ec772ca42ce2",
        28,
    ),
]


@pytest.mark.parametrize("row", PINNED, ids=lambda row: row[0])
def test_pinned_vectors(
    row: tuple[str, Any, int, str | None, int | None, Network, str, str, int],
) -> None:
    _, action, nonce, vault, expires, network, r, s, v = row
    signature = Signer(AgentKey(TEST_KEY), network, vault).sign(action, nonce, expires)
    assert same(signature, r, s, v)


def test_rust_vectors_with_text_as_sent() -> None:
    """`2000.0` is hashed as it is written: the hash covers the text, not the number."""
    key = AgentKey("0xe908f86dbb4d55ac876378565aafeabc187f6690f046459397b17d9b9a19688e")
    signer = Signer(key, Network.MAINNET)
    action = orders(limit(1, True, "2000.0", "3.5", "Ioc"))
    assert same(
        signer.sign(action, 1583838, None),
        "0x77957e58e70f43b6b68581f2dc42011fc384538a2e5b7bf42d5b936f19fbb673",
        "0x60721a8598727230f67080efee48c812a6a4442013fd3b0eed509171bef9f23f",
        0x1C,
    )
    cancel = {"type": "cancel", "cancels": [{"a": 1, "o": 82382}]}
    assert same(
        signer.sign(cancel, 1583838, None),
        "0x02f76cc5b16e0810152fa0e14e7b219f49c361e3325f771544c6f54e157bf9fa",
        "0x17ed0afc11a98596be85d5cd9f86600aad515337318f7ab346e5ccc1b03425d5",
        0x1B,
    )


CHAIN = {"signatureChainId": "0x66eee", "hyperliquidChain": "Mainnet"}


@pytest.mark.parametrize(
    ("action", "r", "s", "v"),
    [
        (
            {"type": "usdClassTransfer", "amount": "12.5", "toPerp": True, "nonce": N},
            "0x6a69433fd308348c335fe24717037ce26b2ea06a7fec94ef1cbb04663023a499",
            "0x9a52fbad7515b05cfdf757c0af11b408884fda32e356bafd2c96a64a383cbf8",
            28,
        ),
        (
            {"type": "approveAgent", "agentAddress": V, "agentName": "bot1", "nonce": N},
            "0x94452eeb553f775e98f4fc3aaf8044cceba0e76baee5a6c03aca724009b290df",
            "0xbbbf95d8cd047d8c0e94ee0d71abac1c1b7be8dafa313f2d8d40544d599852a",
            27,
        ),
        (
            {"type": "approveAgent", "agentAddress": V, "agentName": "", "nonce": N},
            "0x4557e5fccc29a84766d1b69cb06d5e46c8925787ffcf3db0209ebf42e9ecbd04",
            "0x11e9193edd94c7674ae1ad0dfe28968ddb2270d38a3dbe5a2bfab3cca385d3a7",
            28,
        ),
        (
            {
                "type": "sendAsset",
                "destination": V,
                "sourceDex": "",
                "destinationDex": "spot",
                "token": "USDC:0x6d1e7cde53ba9467b783cb7c530ce054",
                "amount": "12.5",
                "fromSubAccount": "",
                "nonce": N,
            },
            "0x1c1a3fc39d7a71d6e15e4f7615339ed192577e25b3083c5ffd5012a46b9a176c",
            "0x728760666d6dd167a2c5ce03dcb3cfccf800ba01604b99f5acee266509d6c8ed",
            27,
        ),
        (
            {
                "type": "userSetAbstraction",
                "user": TEST_KEY_ADDRESS,
                "abstraction": "unifiedAccount",
                "nonce": N,
            },
            "0x426990b4af44b08c21c1ef2355b6d051b76c949ab492a935414743a8901e6b33",
            "0x226a4377a2cc6f283a8e36d28146248733c172af64cf80190f76975b0a7405c6",
            28,
        ),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_user_signed_vectors(action: Mapping[str, Any], r: str, s: str, v: int) -> None:
    assert same(sign_user_action(AgentKey(TEST_KEY), {**action, **CHAIN}), r, s, v)


def test_every_vector_of_the_sdk() -> None:
    vectors = json.loads(recorded("hl-signing-vectors/python_sdk_vectors.json").read_text())
    seen = 0
    for vector in vectors["vectors"]:
        if vector.get("kind") == "l1":
            for network, e in vector["expected"].items():
                key = AgentKey(vector["privateKey"])
                signer = Signer(key, Network(network), vector["vaultAddress"])
                made = signer.sign(vector["action"], vector["nonce"], vector["expiresAfter"])
                assert same(made, e["r"], e["s"], e["v"]), vector["name"]
                seen += 1
        elif vector.get("kind") == "user_signed":
            e = vector["expected"]["testnet"]
            action = {"type": vector["name"], **vector["message"]}
            made = sign_user_action(AgentKey(vector["privateKey"]), action)
            assert same(made, e["r"], e["s"], e["v"]), vector["name"]
            seen += 1
    assert seen >= 15


def random_action(draw: random.Random) -> Any:
    """One of the five actions that the bot sends."""
    asset = draw.choice([0, 5, 159, 10107, 10142, 100_000, 127, 128, 255, 256, 65_535, 65_536])
    cloid = f"0x{draw.getrandbits(128):032x}"
    kind = draw.randrange(5)
    if kind == 0:
        px = str(Decimal(draw.randint(1, 99999)).scaleb(draw.randint(-5, 2)).normalize())
        sz = format(Decimal(draw.randint(1, 10**9)).scaleb(-draw.randint(0, 6)), "f")
        tif = draw.choice(["Alo", "Ioc", "Gtc"])
        reduce, named = draw.random() < 0.5, cloid if draw.random() < 0.8 else ""
        return orders(limit(asset, draw.random() < 0.5, px, sz, tif, r=reduce, c=named))
    if kind == 1:
        return {"type": "cancel", "cancels": [{"a": asset, "o": draw.randrange(2**53)}]}
    if kind == 2:
        return {"type": "cancelByCloid", "cancels": [{"asset": asset, "cloid": cloid}]}
    if kind == 3:
        leverage = draw.randint(1, 50)
        return {
            "type": "updateLeverage",
            "asset": asset,
            "isCross": draw.random() < 0.5,
            "leverage": leverage,
        }
    return {"type": "noop"}


@pytest.mark.slow
def test_ten_thousand_random_actions_equal_the_sdk() -> None:
    draw = random.Random(20261120)
    keys = [f"0x{draw.getrandbits(255) + 1:064x}" for _ in range(4)]
    pairs = [(AgentKey(secret), Account.from_key(secret)) for secret in keys]
    for _ in range(10_000):
        key, wallet = draw.choice(pairs)
        action = random_action(draw)
        vault = f"0x{draw.getrandbits(160):040x}" if draw.random() < 0.3 else None
        nonce = draw.randint(1_600_000_000_000, 1_900_000_000_000)
        expires = nonce + draw.randint(0, 60_000) if draw.random() < 0.5 else None
        network = draw.choice(list(Network))
        signer = Signer(key, network, vault)
        body = json.loads(signer.envelope(action, nonce, expires))
        theirs = sdk.sign_l1_action(
            wallet, action, vault, nonce, expires, network is Network.MAINNET
        )
        ours = body["signature"]
        assert same(Signature(**ours), theirs["r"], theirs["s"], theirs["v"]), action
        assert body["action"] == action
        assert (body["nonce"], body["vaultAddress"], body["expiresAfter"]) == (
            nonce,
            vault,
            expires,
        )


def test_what_is_posted_is_what_was_hashed() -> None:
    """The order of keys survives; r and s are padded."""
    signer = Signer(AgentKey(TEST_KEY), Network.TESTNET)
    body = signer.envelope(orders(limit(1, True, "100", "100", "Gtc", c=C1)), 0, None)
    assert body.startswith(
        b'{"action":{"type":"order","orders":[{"a":1,"b":true,"p":"100","s":"100","r":false,'
        b'"t":{"limit":{"tif":"Gtc"}},"c":"0x00000000000000000000000000000001"}],"grouping":"na"},'
        b'"nonce":0,"signature":{"r":"0xeba0664b'
    )
    assert len(json.loads(body)["signature"]["r"]) == 66


class Flaky:
    """A signer whose machine flips a bit."""

    def __init__(self, key: Any) -> None:
        self._key = key

    def sign_recoverable(self, digest: bytes, hasher: Any = None) -> bytes:
        raw = bytearray(self._key.sign_recoverable(digest, hasher=None))
        raw[40] ^= 1
        return bytes(raw)


def test_a_signature_that_is_not_ours_does_not_leave() -> None:
    key = AgentKey(TEST_KEY)
    key._key = Flaky(key._key)
    with pytest.raises(SignatureMismatch, match="noop does not recover to agent 0x1479"):
        Signer(key, Network.TESTNET).envelope({"type": "noop"}, N, None)


def test_an_action_that_json_would_change_does_not_leave() -> None:
    """Bytes are hashed as msgpack binary but would be posted as base64 text."""
    signer = Signer(AgentKey(TEST_KEY), Network.TESTNET)
    with pytest.raises(SignatureMismatch):
        signer.envelope({"type": "noop", "x": b"raw"}, N, None)


def test_the_key_never_shows_itself() -> None:
    key = AgentKey(TEST_KEY)
    shown = [
        repr(key),
        str(key),
        f"{key}",
        f"{key!r:>20}",
        repr([key]),
        repr(vars(Signer(key, Network.TESTNET))),
    ]
    shown += [str(pickle.loads(pickle.dumps(key))), str(copy.deepcopy(key)), str(copy.copy(key))]
    for text in shown:
        assert "<redacted>" in text
        assert "01234567" not in text
    assert key.address == TEST_KEY_ADDRESS


@pytest.mark.parametrize(
    "secret", ["", "0x12", "0x" + "zz" * 32, "0x" + "00" * 32, "0x" + "ff" * 32]
)
def test_an_unusable_key_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(ValueError, match="the agent key cannot be used") as caught:
        AgentKey(secret)
    assert secret == "" or secret not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
