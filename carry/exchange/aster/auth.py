"""Who is asking: V3 and V1 signatures, verified over the text as it was received.

V3: EIP-712 of `Message(string msg)`, domain AsterSignTransaction/1, chain 1666 or 714; `msg` is the
query or the body up to `&signature=`. V1: HMAC-SHA256 over query then body, key in a header.
"""

import hashlib
import hmac
from typing import NamedTuple
from urllib.parse import parse_qsl

import coincurve
from Crypto.Hash import keccak

from ..accounts import Nonces
from .errors import Fault, bad_signature, missing, nonce_expired

CHAINS = {"mainnet": 1666, "testnet": 714}
NONCE_WINDOW_US = 10_000_000
WINDOW_MS = 5_000
WINDOW_MS_MAX = 60_000
AHEAD_MS = 1_000
_SIGNATURE = "signature="


class Request(NamedTuple):
    """As received: `query` and `body` are raw text; header names are lower case."""

    method: str
    path: str
    query: str
    body: str
    headers: dict[str, str]


class Grant(NamedTuple):
    """What an agent may do for a user, until `expires_ms`."""

    user: str
    name: str
    can_spot: bool = True
    can_perp: bool = True
    expires_ms: int = 4_102_444_800_000


def _keccak(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


_DOMAIN = _keccak(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_MESSAGE = _keccak(b"Message(string msg)")


def message_digest(msg: str, chain_id: int) -> bytes:
    """What a V3 signature signs."""
    domain = _keccak(
        _DOMAIN + _keccak(b"AsterSignTransaction") + _keccak(b"1")
        + chain_id.to_bytes(32, "big") + bytes(32)
    )
    struct = _keccak(_MESSAGE + _keccak(msg.encode()))
    return _keccak(b"\x19\x01" + domain + struct)


def recover(msg: str, signature: str, chain_id: int) -> str | None:
    """The signer's address in lower case; None for what is no signature. v: 0, 1, 27 or 28."""
    try:
        raw = bytes.fromhex(signature.removeprefix("0x"))
        if len(raw) != 65 or raw[64] not in (0, 1, 27, 28):
            return None
        rsv = raw[:64] + bytes([raw[64] % 27])
        key = coincurve.PublicKey.from_signature_and_message(
            rsv, message_digest(msg, chain_id), hasher=None
        )
    except Exception:
        # libsecp256k1 raises bare Exception for a point that is not on the curve.
        return None
    return "0x" + _keccak(key.format(compressed=False)[1:])[12:].hex()


class Doorman:
    """Users' agents, keys and nonces. `unknown_agent`: the code for a signer nobody approved;
    the documents say -1022, users report -1000.
    """

    def __init__(self, network: str, unknown_agent: int = -1022) -> None:
        self.chain_id = CHAINS[network]
        self.unknown_agent = unknown_agent
        self.agents: dict[str, Grant] = {}
        self.users: dict[str, str] = {}
        self.keys: dict[str, tuple[str, str]] = {}
        self.nonces: dict[str, Nonces] = {}

    def approve(self, agent: str, grant: Grant) -> None:
        self.agents[agent.lower()] = grant._replace(user=grant.user.lower())

    def give_key(self, user: str, key: str, secret: str) -> None:
        self.keys[key] = (user.lower(), secret)

    def admit(
        self, request: Request, version: int, now_ms: int, *, spot: bool, signed: bool = True
    ) -> str:
        """The user behind a request, lower case. Raises `Fault`."""
        if version == 3:
            return self._admit_agent(request, now_ms, spot=spot)
        return self._admit_key(request, now_ms, signed=signed)

    def _admit_agent(self, request: Request, now_ms: int, *, spot: bool) -> str:
        text = request.body if _SIGNATURE in request.body else request.query
        msg, found, signature = text.rpartition("&" + _SIGNATURE)
        params = dict(parse_qsl(msg, keep_blank_values=True))
        for name in ("nonce", "signer"):
            if not params.get(name):
                raise missing(name)
        if not found:
            raise missing("signature")
        signer = params["signer"].lower()
        if recover(msg, signature, self.chain_id) != signer:
            raise bad_signature()
        user = params.get("user", "").lower()
        grant = self.agents.get(signer)
        if grant is None and signer in self.users and user in ("", signer):
            grant = Grant(signer, "main wallet")
        if grant is None or (user and grant.user != user):
            text = "Signature for this request is not valid."
            raise Fault(self.unknown_agent, text)
        if now_ms >= grant.expires_ms:
            raise Fault(-2015, "Invalid API-key, IP, or permissions for action.")
        self._use_nonce(grant.user, params["nonce"], now_ms)
        if request.method != "GET" and not (grant.can_spot if spot else grant.can_perp):
            raise Fault(-4088, "User can not place order currently.")
        return grant.user

    def _use_nonce(self, user: str, text: str, now_ms: int) -> None:
        if not text.isdigit():
            raise missing("nonce")
        nonce = int(text)
        nonces = self.nonces.setdefault(user, Nonces())
        if abs(nonce - now_ms * 1_000) > NONCE_WINDOW_US or nonces.refusal(nonce) is not None:
            raise nonce_expired()
        nonces.use(nonce)

    def _admit_key(self, request: Request, now_ms: int, *, signed: bool) -> str:
        key = request.headers.get("x-mbx-apikey", "")
        if not key:
            raise Fault(-2014, "API-key format invalid.", 401)
        if key not in self.keys:
            raise Fault(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        user, secret = self.keys[key]
        if not signed:
            return user
        total = request.query + request.body
        msg, found, signature = total.rpartition(_SIGNATURE)
        if not found:
            raise missing("signature")
        params = {
            **dict(parse_qsl(request.body, keep_blank_values=True)),
            **dict(parse_qsl(request.query, keep_blank_values=True)),
        }
        made = hmac.new(secret.encode(), msg.removesuffix("&").encode(), hashlib.sha256)
        if not hmac.compare_digest(made.hexdigest(), signature.lower()):
            raise bad_signature()
        stamp, window = params.get("timestamp", ""), params.get("recvWindow", str(WINDOW_MS))
        if not stamp.isdigit() or not window.isdigit() or int(window) > WINDOW_MS_MAX:
            raise missing("timestamp" if not stamp.isdigit() else "recvWindow")
        if int(stamp) >= now_ms + AHEAD_MS:
            raise Fault(
                -1021,
                "Timestamp for this request was 1000ms ahead of the server's time.",
            )
        if now_ms - int(stamp) > int(window):
            raise Fault(-1021, "Timestamp for this request is outside of the recvWindow.")
        return user
