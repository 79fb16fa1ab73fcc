"""Costs add; the meter books what is spent, and the time, under the phase that is under way."""

import math
import time

import pytest

from tolman.core.cost import PHASES, Cost, Meter


def test_costs_add_and_are_shared():
    total = Cost(3, 10.0, 1.5, 0.25) + Cost(4, 2.0, 0.5) + Cost()
    assert total == Cost(7, 12.0, 2.0, 0.25)
    assert total.per(2) == Cost(4, 6.0, 1.0, 0.125)
    assert Cost.from_dict(total.to_dict()) == total


def test_unknown_stays_unknown():
    assert math.isnan((Cost(flops=math.nan) + Cost(flops=5.0)).flops)
    assert (Cost(flops=math.nan) + Cost(tokens=5)).tokens == 5


def test_what_is_spent_is_booked_under_its_phase():
    meter = Meter()
    meter.add(Cost(tokens=1))
    with meter.phase("ask"):
        meter.add(Cost(tokens=10))
        with meter.phase("generate"):
            meter.add(Cost(tokens=100))
        meter.add(Cost(tokens=1000))
    meter.add(Cost(tokens=2))
    assert [meter.get(phase).tokens for phase in ("train", "ask", "generate", "probe")] == [3, 1010, 100, 0]


def test_an_inner_phases_time_is_not_the_outer_ones():
    meter = Meter()
    with meter.phase("train"):
        time.sleep(0.02)
        with meter.phase("probe"):
            time.sleep(0.06)
        time.sleep(0.02)
    assert 0.04 <= meter.get("train").seconds < 0.06 + 0.04
    assert meter.get("probe").seconds >= 0.06
    assert meter.get("ask").seconds == 0


def test_the_phase_ends_with_an_error_too():
    meter = Meter()
    with pytest.raises(KeyError), meter.phase("ask"), meter.phase("probe"):
        raise KeyError
    meter.add(Cost(tokens=1))
    assert meter.get("train").tokens == 1


def test_time_under_way_is_included():
    meter = Meter()
    with meter.phase("train"):
        time.sleep(0.01)
        first = meter.get("train").seconds
        time.sleep(0.01)
        assert meter.get("train").seconds > first >= 0.01


def test_an_unknown_phase_is_our_mistake():
    with pytest.raises(AssertionError, match="is none of the phases"), Meter().phase("training"):
        pass
    assert set(PHASES) == {"generate", "train", "ask", "probe"}
