"""What the venue's documents leave open: each open question is a switch, by name.

A client that is to be trusted passes with every switch both ways. The first value is the default.
`section` is where the protocol reference says UNSURE, or where its sources disagree.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Switch(NamedTuple):
    """One open question: its name, where it comes from, what it may be, what it decides."""

    name: str
    section: str
    values: tuple[str, ...]
    meaning: str


SWITCHES = (
    Switch("bad_coin", "0", ("422", "500"), "status of a read for a coin that does not exist"),
    Switch("body_of_429", "0", ("null", "empty"), "body when the IP budget is spent"),
    Switch("token_rows", "1.1", ("dense", "sparse"),
           "whether spotMeta lists every token, so that position equals index"),
    Switch("funding_sign", "1.3", ("paid", "received"), "what cumFunding > 0 means"),
    Switch("filled_record_sz", "1.3", ("zero", "original"), "orderStatus.sz of a filled order"),
    Switch("records_kept", "1.3, 10", ("2000", "200"), "order records before unknownOid"),
    Switch("fills_kept", "1.3, 10", ("10000", "2000"), "fills that can still be read"),
    Switch("spot_closed_pnl", "1.3, 10", ("gross", "net"), "closedPnl of a spot sell and its fee"),
    Switch("funding_rows", "1.3", ("hourly", "daily"),
           "whether userFunding merges days that are over, with nSamples"),
    Switch("new_account_mode", "1.3, 10", ("split", "unified"),
           "mode of an account made by a transfer"),
    Switch("spot_state_flag", "7.2, 10", ("isPortfolioMargin", "ignorePortfolioMargin"),
           "the flag a spotState subscription may carry"),
    Switch("web_data_2", "7.2, 10", ("served", "gone"), "whether webData2 still exists"),
    Switch("hashed_numbers", "2.2, 10", ("as_sent", "canonical"),
           "whether number texts are written anew before the signature is recovered"),
    Switch("unified_spot_send", "2.4", ("refused", "allowed"), "spotSend of a unified account"),
    Switch("reserve_weight_signer", "2.4, 6.2", ("master", "any"),
           "who may sign reserveRequestWeight"),
    Switch("gtc_partial_reply", "2.5, 10", ("resting", "filled"),
           "reply to a GTC that fills in part and rests"),
    Switch("price_band", "2.6, 10", ("80", "95"), "percent an order may be from the reference"),
    Switch("price_band_text", "2.6", ("reference", "oracle"), "words of that refusal"),
    Switch("duplicate_cloid", "2.6, 10", ("accepted", "refused"), "a cloid that still rests"),
    Switch("lone_trigger", "2.5", ("any", "reduce_only"),
           "whether a TP/SL order by itself must be reduce-only"),
    Switch("ioc_minimum", "3.2", ("limit", "best"), "price at which an IOC's $10 are counted"),
    Switch("twap_minimum", "3.3", ("100", "10_a_minute"), "smallest TWAP in USD"),
    Switch("base_fee_decimals", "3.5, 10", ("wei", "8"),
           "digits of a fee in a token whose weiDecimals is not 8"),
    Switch("unified_funding_row", "4", ("userFunding", "ledger"),
           "where a unified account's funding shows besides its balance"),
    Switch("unified_total", "5.2, 10", ("cash", "with_pnl"),
           "whether spot USDC total includes unrealised PnL"),
    Switch("unified_liquidation_px", "5.1, 10", ("with_spot", "perps_only"),
           "whether spot USDC counts in liquidationPx"),
    Switch("master_downgrade", "5.2", ("allowed", "refused"), "unified to split by the master"),
    Switch("action_day", "5.2", ("utc", "rolling"), "what the 50,000 actions a day count by"),
    Switch("agent_sets_portfolio", "10", ("refused", "allowed"),
           "portfolio margin switched on by an agent"),
    Switch("portfolio_max_usd", "5.3, 10", ("25000000", "5000000"),
           "account value above which portfolio margin is refused"),
    Switch("hype_ltv", "5.3", ("0.65", "0.5"), "loan to value of HYPE"),
    Switch("ws_users", "6.1, 10", ("10", "15"), "unique users in subscriptions of one IP"),
    Switch("ws_alive_by", "7.1", ("data", "anything"),
           "whether acks and post replies keep a socket from its 60 s silence"),
    Switch("is_snapshot_later", "7.1", ("absent", "false"), "isSnapshot after the first message"),
    Switch("trades_on_subscribe", "7.2", ("recent", "none"), "first batch of the trades channel"),
    Switch("user_nonces", "8.1", ("shared", "separate"),
           "whether user-signed nonces use the tracker of L1 actions"),
    Switch("agent_expiry", "8.2", ("at_once", "late"), "an expired agent works 15 minutes more"),
    Switch("replica_lag_ms", "8.5", ("0", "1500"), "how long reads miss an acknowledged order"),
)
BY_NAME = {switch.name: switch for switch in SWITCHES}


class BadSwitch(Exception):
    """No such switch or value: says which there are."""


def choose(pairs: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> dict[str, str]:
    """Every switch with its value; those not named stand at their default. Raises BadSwitch."""
    values = {switch.name: switch.values[0] for switch in SWITCHES}
    for name, value in dict(pairs).items():
        switch = BY_NAME.get(name)
        if switch is None:
            raise BadSwitch(f"{name}: no such switch; there are {', '.join(sorted(BY_NAME))}")
        if value not in switch.values:
            raise BadSwitch(f"{name}={value}: expected {' or '.join(switch.values)}")
        values[name] = value
    return values
