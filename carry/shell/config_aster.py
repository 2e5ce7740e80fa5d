"""What the config says of Aster: which of its keys go together, and the addresses left out."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import attrs

from carry.core.types import Leg
from carry.venues.aster.constants import BASE_URLS, Network

from .wiring import AccountWiring, VenueWiring

ASTER = "aster"
VENUE_KEYS = (
    "spot_base_url",
    "recv_window_ms",
    "time_sync_interval_ms",
    "spot_tick",
    "spot_step",
    "perp_tick",
    "perp_step",
)
ACCOUNT_KEYS = ("api_key", "api_secret")

Said = Iterator[tuple[str, str]]


def at_odds(venue: VenueWiring, account: AccountWiring) -> Said:
    """Relations of Aster's keys that do not hold, as (key, sentence)."""
    if venue.name != ASTER:
        # The example shows every default, whatever the venue: only what differs is at odds.
        for section, names, found, usual in (
            ("venue", VENUE_KEYS, venue, VenueWiring()),
            ("account", ACCOUNT_KEYS, account, AccountWiring()),
        ):
            for name in names:
                if getattr(found, name) != getattr(usual, name):
                    other = "the embedded exchange" if venue.embedded else venue.name
                    yield f"{section}.{name}", f"is only for aster, not for {other}; take it out"
        return
    if venue.ws_url is not None:
        yield "venue.ws_url", "is not used with aster; take it out"
    if (account.api_key is None) != (account.api_secret is None):
        missing = "api_key" if account.api_key is None else "api_secret"
        yield f"account.{missing}", "is missing: api_key and api_secret are given together"
    elif account.api_key is not None and account.agent_key is not None:
        yield (
            "account.api_key",
            "stands beside agent_key; the agent is the way in, so take the legacy key out",
        )
    yield from _wrong_network(venue)


def _wrong_network(venue: VenueWiring) -> Said:
    """An address of one network beside the other's name: signed for one, sent to the other."""
    if venue.network is None:
        return
    for network, urls in BASE_URLS.items():
        hosts = [urlsplit(url).hostname for url in urls.values()]
        for name in ("base_url", "spot_base_url"):
            url = getattr(venue, name)
            if network.value != venue.network and url and urlsplit(url).hostname in hosts:
                yield (
                    f"venue.{name}",
                    f"{url} is the {network.value}, but network is {venue.network}; make them "
                    "agree",
                )


def completed(venue: VenueWiring) -> VenueWiring:
    """With both hosts' addresses: the network's, or one's own server for both."""
    if venue.name != ASTER:
        return venue
    urls = BASE_URLS[Network(venue.network)]
    base_url = venue.base_url or urls[Leg.PERP]
    own = urlsplit(base_url).hostname != urlsplit(urls[Leg.PERP]).hostname
    spot = venue.spot_base_url or (base_url if own else urls[Leg.SPOT])
    return attrs.evolve(venue, base_url=base_url, spot_base_url=spot)
