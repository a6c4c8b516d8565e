"""Patterns, opening hours and the choice between routes."""

import re
from datetime import UTC, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from examples.voice_agent.did_pattern import DidPattern, PatternError, plain_number
from examples.voice_agent.routes import Route, route_call
from examples.voice_agent.schedule import Hours, Schedule, Weekday

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)  # a Monday
ALWAYS = Schedule()
NEVER = Schedule(hours=(Hours(days=frozenset([Weekday.SUN])),))


@pytest.mark.parametrize(
    ("pattern", "number", "matches"),
    [
        ("5550100", "5550100", True),
        ("+1 (555) 010-0", "15550100", True),
        ("15550100", "+1-555-0100", True),
        ("5550100", "55501000", False),
        ("_1NXXNXXXXXX", "12125551234", True),
        ("_1NXXNXXXXXX", "11125551234", False),
        ("_84.", "84901234567", True),
        ("_84.", "84", False),
        ("_84!", "84", True),
        ("_Z[15-7]", "95", True),
        ("_Z[15-7]", "94", False),
        ("_Z[15-7]", "06", False),
        ("_X", "٣", False),
        ("_.", "", False),
        ("_!", "", True),
        ("support", "Support", True),
    ],
)
def test_patterns_mean_what_they_mean_in_asterisk(pattern: str, number: str, matches: bool) -> None:
    assert DidPattern.parse(pattern).matches(number) is matches


@pytest.mark.parametrize(
    "pattern", ["", "_", "_1.2", "_[12", "_[]", "_[9-1]", "_Q", "5*&", "_" * 99]
)
def test_what_is_no_pattern_is_told_so(pattern: str) -> None:
    with pytest.raises(PatternError):
        DidPattern.parse(pattern)


parts = st.sampled_from(["X", "Z", "N", "[1-3]", "[27*]", "0", "5", "9", "#"])
patterns = st.builds(
    lambda body, tail: "_" + "".join(body) + tail,
    st.lists(parts, min_size=1, max_size=6),
    st.sampled_from(["", ".", "!"]),
)
numbers = st.text("0123456789*#", max_size=8)


@given(patterns, numbers)
def test_a_pattern_is_its_regular_expression(pattern: str, number: str) -> None:
    expression = pattern[1:].replace("*", r"\*") if "[" not in pattern else pattern[1:]
    for ours, theirs in (("X", r"\d"), ("Z", "[1-9]"), ("N", "[2-9]"), (".", ".+"), ("!", ".*")):
        expression = expression.replace(ours, theirs)
    assert DidPattern.parse(pattern).matches(number) == bool(re.fullmatch(expression, number))


@given(patterns)
def test_a_pattern_is_written_in_one_way(pattern: str) -> None:
    parsed = DidPattern.parse(pattern)
    assert DidPattern.parse(parsed.text) == parsed


@given(st.text(max_size=20))
def test_any_text_is_a_pattern_or_told_that_it_is_none(text: str) -> None:
    try:
        parsed = DidPattern.parse(text)
    except PatternError:
        return
    assert DidPattern.parse(parsed.text) == parsed


def office(time_zone: str = "America/New_York") -> Schedule:
    days = frozenset(list(Weekday)[:5])
    return Schedule(time_zone=time_zone, hours=(Hours(days=days, opens=time(9), closes=time(17)),))


def test_hours_are_those_of_the_time_zone_also_when_clocks_change() -> None:
    summer = datetime(2026, 7, 1, 13, 0, tzinfo=UTC)
    winter = datetime(2026, 12, 1, 13, 30, tzinfo=UTC)
    assert office().is_open(summer)
    assert not office().is_open(summer - timedelta(minutes=1))
    assert not office().is_open(winter)
    assert office().is_open(winter + timedelta(minutes=30))


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    friday = Hours(days=frozenset([Weekday.FRI]), opens=time(22), closes=time(6))
    night = Schedule(hours=(friday,))
    assert night.is_open(datetime(2026, 11, 27, 23, tzinfo=UTC))
    assert night.is_open(datetime(2026, 11, 28, 5, 59, tzinfo=UTC))
    assert not night.is_open(datetime(2026, 11, 28, 6, tzinfo=UTC))
    assert not night.is_open(datetime(2026, 11, 27, 5, tzinfo=UTC))
    closed = night.model_copy(update={"closed_on": frozenset([datetime(2026, 11, 27).date()])})
    assert not closed.is_open(datetime(2026, 11, 28, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "wrong",
    [{"time_zone": "Hanoi"}, {"time_zone": "../etc/passwd"}, {"hours": []}, {"zone": "UTC"}],
)
def test_a_wrong_schedule_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Schedule.model_validate(wrong)


clock_times = st.times().map(lambda at: at.replace(second=0, microsecond=0))
hours = st.builds(
    Hours,
    days=st.frozensets(st.sampled_from(Weekday), min_size=1),
    opens=clock_times,
    closes=clock_times,
)
zones = st.sampled_from(["UTC", "Asia/Ho_Chi_Minh", "America/New_York", "Australia/Lord_Howe"])
schedules = st.builds(
    Schedule, time_zone=zones, hours=st.lists(hours, min_size=1, max_size=3).map(tuple)
)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))


@given(schedules, moments)
def test_a_schedule_is_open_within_its_hours(schedule: Schedule, at: datetime) -> None:
    """Beside a slow reading: the minutes of a week, one after the other."""
    local = at.astimezone(ZoneInfo(schedule.time_zone))
    minute = local.weekday() * 1440 + local.hour * 60 + local.minute
    expected = False
    for each in schedule.hours:
        opens, closes = (at.hour * 60 + at.minute for at in (each.opens, each.closes))
        length = closes - opens if closes > opens else closes - opens + 1440
        starts = [list(Weekday).index(day) * 1440 + opens for day in each.days]
        expected |= any((minute - start) % (7 * 1440) < length for start in starts)
    assert schedule.is_open(at) == expected


def route(id: int, pattern: str, priority: int = 100, schedule: Schedule = ALWAYS) -> Route:
    return Route(id, DidPattern.parse(pattern), f"agent {id}", None, priority, schedule, f"f{id}")


def test_the_lower_priority_number_comes_first_then_the_more_specific_pattern() -> None:
    routes = [route(1, "_X.", 1), route(2, "_555XXXX"), route(3, "5550100"), route(4, "_5.")]
    assert route_call(routes, "5550100", NOW).agent == ("agent 1", None)
    assert route_call(routes[1:], "5550100", NOW).agent == ("agent 3", None)
    assert route_call(routes[1:], "5550101", NOW).agent == ("agent 2", None)
    assert route_call(routes[1:], "555", NOW).agent == ("agent 4", None)


def test_a_closed_route_leaves_the_call_to_the_next_and_its_fallback_is_the_last_resort() -> None:
    day, night = route(1, "5550100", 1, NEVER), route(2, "_X.", 2)
    assert route_call([day, night], "5550100", NOW).agent == ("agent 2", None)
    closed = route_call([day], "5550100", NOW)
    assert (closed.agent, closed.fallback, closed.reason) == (None, "f1", "closed")
    nobody = route_call([day], "777", NOW)
    assert (nobody.agent, nobody.fallback, nobody.reason) == (None, None, "no_route")


route_lists = st.lists(
    st.builds(
        Route,
        id=st.integers(1, 10_000),
        pattern=st.one_of(patterns, st.just("_X."), st.just("5")).map(DidPattern.parse),
        agent=st.just("a"),
        version=st.none(),
        priority=st.integers(0, 3),
        schedule=st.sampled_from([ALWAYS, NEVER]),
        fallback=st.sampled_from([None, "100"]),
        enabled=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda each: each.id,
)


@given(route_lists, numbers, st.randoms())
def test_the_choice_does_not_depend_on_the_order(
    routes: list[Route], called: str, random: Random
) -> None:
    decided = route_call(routes, called, NOW)
    shuffled = list(routes)
    random.shuffle(shuffled)
    assert route_call(shuffled, called, NOW) == decided
    if decided.open:
        assert decided.route is not None and decided.route.enabled
        assert decided.route.pattern.matches(called) and decided.route.schedule.is_open(NOW)
        better = [each for each in routes if each.priority < decided.route.priority]
        assert not any(
            each.enabled and each.pattern.matches(called) and each.schedule.is_open(NOW)
            for each in better
        )


@given(route_lists, numbers)
def test_a_route_that_is_never_open_takes_no_call(routes: list[Route], called: str) -> None:
    decided = route_call(routes, called, NOW)
    if decided.agent is None:
        assert not any(
            each.enabled and each.pattern.matches(called) and each.schedule.is_open(NOW)
            for each in routes
        )


@given(st.text("+0123456789 ()-.", max_size=20))
def test_a_plain_number_is_plain(number: str) -> None:
    assert plain_number(plain_number(number)) == plain_number(number).removeprefix("+")
