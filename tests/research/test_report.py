"""The report: what it draws is what the books say, and a browser draws it without a network."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from carry.cli.main import main
from carry.core import ledger
from carry.research import accounts, report
from carry.research.accounts import Books
from carry.research.past import NotThere
from carry.research.report_page import ReportRefused
from carry.shell.reader import Reader
from tests.research.test_accounts import made as made  # a small history by hand

HOUR = accounts.HOUR_MS
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def figures(text: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="figures">(.*?)</script>', text)
    charts: dict[str, Any] = json.loads(found)
    return charts


@pytest.fixture(scope="module")
def books(journal: str) -> Books:
    return accounts.read(journal)


@pytest.fixture(scope="module")
def text(books: Books) -> str:
    return report.make(books)


@pytest.fixture(scope="module")
def units(books: Books) -> dict[str, str]:
    """What each chart is measured in, by its name, in their order."""
    traded = [coin for coin in books.coins if books.by_coin[coin]]
    assert traded
    return {
        "equity": "USD",
        "funding": "% a year",
        "position": "USD",
        **{f"fills-{coin}": f"USD per {coin}" for coin in traded},
        "liquidation": "% rise",
        "even": "USD",
    }


def test_every_chart_says_its_unit(text: str, units: dict[str, str]) -> None:
    found = figures(text)
    assert {name: c["layout"]["yaxis"]["title"]["text"] for name, c in found.items()} == units
    assert list(found) == list(units)
    for name, chart in found.items():
        assert chart["layout"]["xaxis"]["title"]["text"] in ("UTC", "hours since entry"), name
        assert any(trace["x"] for trace in chart["data"]), name
        assert f'id="{name}"' in text


def test_the_page_names_nobody_and_asks_nobody(journal: str, text: str) -> None:
    """No address to load from outside the library, and a policy that would forbid it."""
    import plotly.offline

    page = text.replace(plotly.offline.get_plotlyjs(), "")
    assert len(page) < 400_000
    assert "//" not in re.sub(r"// A chart .*", "", page)
    assert "default-src 'none'" in page
    facts = dict(Reader(journal).rows("SELECT key, value FROM meta"))
    assert facts["account"] not in text
    assert journal not in text


def test_lines_end_where_the_ledger_stands(books: Books, text: str) -> None:
    pnl, found = ledger.total(books.state), figures(text)
    ends = {trace["name"]: trace["y"][-1] for trace in found["equity"]["data"]}
    assert ends == {
        "net": float(pnl.net_usd),
        "funding": float(pnl.funding_usd),
        "fees": -float(pnl.fees_usd),
        "basis": float(pnl.basis_usd),
        "slippage": float(pnl.slippage_usd),
    }
    traded = [coin for coin in books.coins if books.by_coin[coin]]
    for coin in traded:
        marks = [t for t in found[f"fills-{coin}"]["data"] if t["mode"] == "markers"]
        assert sum(len(trace["x"]) for trace in marks) == sum(
            1 for one in books.lines if (one.coin, one.kind) == (coin, "fill")
        )
    paid = [trace for trace in found["funding"]["data"] if trace["type"] == "bar"]
    assert [trace["name"] for trace in paid] == [f"{coin} paid" for coin in traded]
    assert sum(len(trace["x"]) for trace in paid) == len(books.receipts) > 0


def test_payments_of_a_long_time_are_drawn_by_the_day(made: Books) -> None:
    few = report.funding(made).traces[0]
    assert (few["x"], few["y"]) == (["1970-01-01T01:00:00Z"], [8.76 * 100])
    paid = made.receipts[0]
    twice = (paid, attrs.evolve(paid, at_ms=3 * HOUR, rate=-paid.rate))
    late = attrs.evolve(made.state, venue_ms=500 * HOUR)
    bars = report.funding(attrs.evolve(made, state=late, receipts=twice)).traces[0]
    assert (bars["x"], bars["y"]) == (["1970-01-01T12:00:00Z"], [0])


def test_positions_and_the_clock_by_hand(made: Books) -> None:
    """Spot 10 at 21 less 10 at 21.5; at the end 5 and 10 at the newest kept price, 24."""
    times = [HOUR - 200, HOUR + 1, None]
    assert report.held_usd(made, "HYPE", times) == [(0, 0), (210, -215), (120, -240)]
    first, second = accounts.rounds(made)
    points = report.clock(made, first)
    # Paid 1.1 and 1.1 (0.1 of fees, 1 of slippage each), then 0.2 came: never even.
    assert [(float(hours), float(usd)) for hours, usd in points[:3]] == [
        (0, 0), (100 / HOUR, -1.1), (150 / HOUR, -2.2),
    ]  # fmt: skip
    assert float(points[-1][1]) == -2
    assert report.even_h(points) is None
    assert [float(usd) for _, usd in report.clock(made, second)] == [0, -0.6]
    D = type(points[0][0])
    again = [(D(1), D(-1)), (D(2), D(1)), (D(3), D(-1)), (D(4), D(0)), (D(5), D(2))]
    assert report.even_h(again) == 4, "for good, not for a moment"
    assert report.even_h(again[:3]) is None
    head, rows = report.carries(made, accounts.rounds(made))
    assert [row[0] for row in rows] == ["HYPE", "HYPE", "all"]
    assert dict(zip(head, rows[-1], strict=True))["net $"] == "-12.6"


def test_what_a_name_holds_is_text(made: Books) -> None:
    """A coin's name is the config's, and no markup wherever it lands."""
    carry = attrs.evolve(made.state.carries["HYPE"], coin="</script><b>")
    odd = attrs.evolve(
        made,
        state=attrs.evolve(made.state, carries={"</script><b>": carry}),
        lines=tuple(
            attrs.evolve(line, coin=None if line.coin is None else "</script><b>")
            for line in made.lines
        ),
        turns=tuple(attrs.evolve(turn, coin="</script><b>") for turn in made.turns),
    )
    assert "</script><b>" not in report.make(odd)


def test_what_is_missing_is_said(
    journal: str, made: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with pytest.raises(NotThere, match="nothing was booked yet"):
        report.make(attrs.evolve(made, lines=()))
    with pytest.raises(ReportRefused, match="another file"):
        report.write(tmp_path / "none" / "report.html", "")
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(SystemExit) as ended:
        main(["report", "--state-db", journal, "-o", str(tmp_path / "report.html")])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "carry[report]" in said
    assert len(said.splitlines()) == 1


# --- a browser ------------------------------------------------------------------------------------

# The last word of the page: that it is heard proves that an error would be.
PROBE = """<script>
const root = document.documentElement, main = document.querySelector("main");
root.dataset.wide = root.scrollWidth - root.clientWidth;
main.style.width = "368px";
Promise.all(shown.map((place) => Plotly.Plots.resize(place))).then(() => {
  root.dataset.narrow = main.scrollWidth - main.clientWidth;
  console.error("end of the page");
});
</script></body>"""


@pytest.mark.timeout(180)
def test_a_browser_draws_it(text: str, units: dict[str, str], tmp_path: Path) -> None:
    """Without an error, with every chart and its units, no wider than a screen or a phone."""
    if CHROMIUM is None:
        # A user's tests need no browser; `.ci/run` installs it and allows no skip.
        pytest.skip("chromium is not installed: apt-get install chromium")
    path = tmp_path / "report.html"
    path.write_text(text.replace("</body>", PROBE))
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,3000",
            "--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom", path.as_uri(),
        ],
        capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert len(said) == 1, said
    assert "end of the page" in said[0]
    dom = done.stdout
    assert 'data-wide="0"' in dom
    assert 'data-narrow="0"' in dom
    assert len(re.findall(r'class="[^"]*js-plotly-plot', dom)) == len(units)
    drawn = re.findall(r'class="ytitle"[^>]*>([^<]*)<', dom)
    assert drawn == list(units.values())
    assert len(re.findall(r'class="xtitle"[^>]*>(UTC|hours since entry)<', dom)) == len(units)
    assert dom.count('class="js-line"') >= len(units)
