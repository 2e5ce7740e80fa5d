"""`carry probe aster spot|perp`: from the config and the options to a bench, then the probe."""

from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import click

from carry.base.clock import WallClock
from carry.base.secrets import Redactor, install_hooks
from carry.core.num import use_exact_context
from carry.core.types import Leg
from carry.shell import lock, places
from carry.shell.aster import credentials, urls
from carry.shell.config_file import ConfigError
from carry.shell.probe import Plan, run
from carry.shell.probe_aster import AsterBench, Wanted
from carry.venues.aster.connect import connect
from carry.venues.aster.constants import Network
from carry.venues.aster.signing import AgentSigner

from .probe import options

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@click.command()
@options
def aster(
    leg: str,
    base: str,
    notional: Decimal | None,
    iterations: int,
    delay: float,
    offset_ticks: int | None,
    monitor_orders: bool,
    yes: bool,
    config: Path | None,
    state_db: str | None,
) -> None:
    """Test orders on Aster, by an agent (V3) or, without one, a legacy key (V1).

    `base` is a coin such as BTC; it is traded against USDT. Needs a config with venue aster.
    """
    use_exact_context()
    found = places.find(config, state_db, config_needed=True)
    assert found.wiring is not None
    venue, account = found.wiring.venue, found.wiring.account
    if venue.name != "aster":
        raise ConfigError(
            f"{found.config}: venue.name is {venue.name}; a probe of aster needs "
            "venue: {name: aster, network: testnet} and an account"
        )
    assert account.address is not None
    network = Network(venue.network)
    redact = Redactor()
    install_hooks(redact)
    signer = credentials(account, venue, redact)
    which = Leg(leg)
    hosts = urls(venue)
    _confirmed(network, hosts[which], f"{base.upper()} {leg}", yes)
    rest = connect(
        network=network,
        user=account.address,
        urls=hosts,
        signer=signer,
        clock=WallClock(),
        nonces=lock.folder(),
        sync_ms=venue.time_sync_interval_ms,
    )
    spot = which is Leg.SPOT
    bench = AsterBench(
        rest,
        Wanted(
            leg=which,
            base=base.upper(),
            notional=notional,
            offset_ticks=offset_ticks,
            tick=venue.spot_tick if spot else venue.perp_tick,
            step=venue.spot_step if spot else venue.perp_step,
        ),
        network,
        user=account.address,
        agent=signer.address if isinstance(signer, AgentSigner) else None,
    )
    way = "agent (V3)" if isinstance(signer, AgentSigner) else "legacy key (V1)"
    click.echo(f"probe of {bench.title} at {hosts[which]}, account {account.address}, by {way}")
    plan = Plan(
        iterations=iterations,
        delay_s=delay,
        follow=monitor_orders,
        say=lambda text: click.echo(redact(text)),
    )
    try:
        code = run(bench, plan)
    finally:
        rest.close()
    click.get_current_context().exit(code)


def _confirmed(network: Network, url: str, what: str, yes: bool) -> None:
    """Ask before anything goes to a live network; only a testnet at this machine is none."""
    local = urlsplit(url).hostname in LOOPBACK and network is Network.TESTNET
    if local or yes:
        return
    money = "REAL MONEY" if network is Network.MAINNET else "the testnet"
    click.confirm(
        f"This places and withdraws test orders of {what} on Aster {network.value} ({money}, "
        f"{url}). Go on?",
        abort=True,
    )
