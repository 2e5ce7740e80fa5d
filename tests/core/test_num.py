"""Exact numbers: steps, canonical text, and what the context refuses."""

import decimal
import threading
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carry.core.num import ceil_to, floor_to, show, use_exact_context

values = st.decimals(min_value=D("-1e9"), max_value=D("1e9"), places=8)
steps = st.sampled_from([D("0.01"), D("0.001"), D("0.00001"), D("1"), D("5")])


@pytest.mark.parametrize(
    "value, step, floor, ceil",
    [
        ("1.239", "0.01", "1.23", "1.24"),
        ("1.23", "0.01", "1.23", "1.23"),
        ("-1.239", "0.01", "-1.24", "-1.23"),
        ("7", "5", "5", "10"),
        ("0", "0.1", "0", "0"),
    ],
)
def test_steps(value: str, step: str, floor: str, ceil: str) -> None:
    assert floor_to(D(value), D(step)) == D(floor)
    assert ceil_to(D(value), D(step)) == D(ceil)


@given(values, steps)
def test_a_step_is_the_nearest_multiple_on_its_side(value: D, step: D) -> None:
    low, high = floor_to(value, step), ceil_to(value, step)
    assert low % step == 0
    assert high % step == 0
    assert low <= value <= high
    assert value - low < step
    assert high - value < step


@pytest.mark.parametrize(
    "text, shown",
    [
        ("2000.0", "2000"),
        ("2000", "2000"),
        ("-0.00", "0"),
        ("1E-7", "0.0000001"),
        ("1E+3", "1000"),
        ("-1.50", "-1.5"),
    ],
)
def test_show(text: str, shown: str) -> None:
    assert show(D(text)) == shown


@given(values)
def test_show_loses_nothing(value: D) -> None:
    assert D(show(value)) == value


def test_the_context_traps_floats_in_every_thread() -> None:
    use_exact_context()
    caught: list[bool] = []

    def mix() -> None:
        try:
            bool(D("1") < 1.5)
        except decimal.FloatOperation:
            caught.append(True)

    mix()
    thread = threading.Thread(target=mix)
    thread.start()
    thread.join()
    assert caught == [True, True]


def test_the_context_traps_nonsense() -> None:
    use_exact_context()
    with pytest.raises(decimal.DivisionByZero):
        D(1) / D(0)
    with pytest.raises(decimal.InvalidOperation):
        bool(D("NaN") < D(1))
