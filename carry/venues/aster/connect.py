"""A connection to both hosts of Aster from addresses and credentials."""

from collections.abc import Mapping
from pathlib import Path

from carry.base.secrets import Secret, SecretRefused, check_agent
from carry.core.types import Leg
from carry.venues.base import Clock
from carry.venues.keys import AgentKey
from carry.venues.transport import SocketTransport

from .constants import Network
from .nonces import SharedNonces
from .rest import OnReply, Rest
from .signing import AgentSigner, HmacSigner, Signer


def connect(
    *,
    network: Network,
    user: str,
    urls: Mapping[Leg, str],
    signer: Signer | None,
    clock: Clock,
    nonces: Path,
    sync_ms: int,
    on_reply: OnReply | None = None,
) -> Rest:
    """nonces: folder of the nonces that all processes of this machine share."""
    transports = {leg: SocketTransport(url) for leg, url in urls.items()}
    scope = f"{network.value}|{user}"
    shared = SharedNonces(nonces, scope)
    return Rest(transports, signer, shared, clock, sync_ms=sync_ms, on_reply=on_reply)


def agent_signer(key: Secret, user: str, network: Network) -> AgentSigner:
    """V3. Raises `SecretRefused` for the user's own key, which could withdraw."""
    check_agent(key, user)
    return AgentSigner(AgentKey(key.reveal()), user, network)


def legacy_signer(api_key: Secret, api_secret: Secret, recv_window_ms: int) -> HmacSigner:
    """V1. A key goes into a header, so what cannot stand there is refused by name."""
    for name, secret in (("api_key", api_key), ("api_secret", api_secret)):
        text = secret.reveal()
        if not text.isascii() or not text.isprintable() or " " in text:
            raise SecretRefused(f"account.{name} is no key of Aster: it has blanks or odd letters")
    return HmacSigner(api_key, api_secret, recv_window_ms)
