"""The bot's venue where the config says aster: credentials, both hosts, and who asks."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from carry.base.clock import WallClock
from carry.base.secrets import Redactor, Secret, SecretRefused, resolve
from carry.core.types import Leg
from carry.venues.aster.connect import agent_signer, connect, legacy_signer
from carry.venues.aster.constants import AGENT_PAGES, Network
from carry.venues.aster.overview import AsterOverview
from carry.venues.aster.signing import AgentSigner, HmacSigner, Signer
from carry.venues.aster.venue import AsterVenue

from . import lock
from .wiring import NOBODY, AccountWiring, SecretRef, VenueWiring


def credentials(
    account: AccountWiring, venue: VenueWiring, redact: Redactor
) -> AgentSigner | HmacSigner:
    """The agent's signatures, else the legacy key's. Raises `SecretRefused`."""
    key = None if account.agent_key is None else _revealed(account.agent_key, redact)
    return _signer(account, venue, key, redact)


def _signer(
    account: AccountWiring, venue: VenueWiring, key: Secret | None, redact: Redactor
) -> AgentSigner | HmacSigner:
    network = Network(venue.network)
    assert account.address is not None
    if key is not None:
        return agent_signer(key, account.address, network)
    if account.api_key is None:
        raise SecretRefused(
            "account.agent_key is missing: make an agent (API wallet) at "
            f"{AGENT_PAGES[network]} and name where its key is, such as {{file: agent.key}}; "
            "without it nothing of an account can be read here"
        )
    return legacy_signer(*legacy_pair(account, redact), venue.recv_window_ms)


def legacy_pair(account: AccountWiring, redact: Redactor) -> tuple[Secret, Secret]:
    """Key and secret of V1, known to `redact` from now on. Raises `SecretRefused`."""
    assert account.api_key is not None
    assert account.api_secret is not None
    return _revealed(account.api_key, redact), _revealed(account.api_secret, redact)


def _revealed(ref: SecretRef, redact: Redactor) -> Secret:
    secret = resolve(ref.kind, ref.name)
    redact.add(secret)
    return secret


def urls(venue: VenueWiring) -> dict[Leg, str]:
    """Both hosts; the config was completed when it was read."""
    assert venue.base_url is not None
    assert venue.spot_base_url is not None
    return {Leg.PERP: venue.base_url, Leg.SPOT: venue.spot_base_url}


@contextlib.contextmanager
def public(
    venue: VenueWiring, base_url: str | None, coins: Sequence[str]
) -> Iterator[tuple[AsterVenue, AsterOverview, WallClock]]:
    """The venue without an account, for public reads. base_url: of both hosts instead."""
    clock = WallClock()
    rest = connect(
        network=Network(venue.network),
        user=NOBODY,
        urls=urls(venue) if base_url is None else dict.fromkeys(Leg, base_url),
        signer=None,
        clock=clock,
        nonces=lock.folder(),
        sync_ms=venue.time_sync_interval_ms,
    )
    reader = AsterVenue(
        rest, clock, network=Network(venue.network), account=NOBODY, coins=coins, agent=None
    )
    try:
        yield reader, AsterOverview(rest), clock
    finally:
        reader.close()


def connected(
    account: AccountWiring,
    venue: VenueWiring,
    coins: Sequence[str],
    key: Secret | None,
    interrupted: Callable[[], bool],
) -> tuple[AsterVenue, WallClock]:
    """The venue, and the machine's clock. key: the agent's; None signs by the legacy key."""
    assert account.address is not None
    clock = WallClock(interrupted)
    signer: Signer = _signer(account, venue, key, Redactor())
    rest = connect(
        network=Network(venue.network),
        user=account.address,
        urls=urls(venue),
        signer=signer,
        clock=clock,
        nonces=lock.folder(),
        sync_ms=venue.time_sync_interval_ms,
    )
    agent = signer.address if isinstance(signer, AgentSigner) else None
    made = AsterVenue(
        rest,
        clock,
        network=Network(venue.network),
        account=account.address,
        coins=coins,
        agent=agent,
    )
    return made, clock
