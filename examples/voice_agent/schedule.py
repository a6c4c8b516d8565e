"""Opening hours: by weekday and clock time in a time zone, without holidays. Pure."""

from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Weekday(StrEnum):
    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


_DAYS = tuple(Weekday)


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"{name!r} is no time zone; they are named like Asia/Ho_Chi_Minh or UTC"
        ) from None
    return name


def _local(value: time) -> time:
    if value.tzinfo is not None:
        raise ValueError("clock times are in the schedule's time zone: leave the offset out")
    return value


# JSON Schema's "time" has an offset.
ClockTime = Annotated[
    time, AfterValidator(_local), Field(json_schema_extra={"format": "time-local"})
]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Hours(Frozen):
    """From `opens` until `closes`, which may be on the next day; equal: a whole day."""

    days: frozenset[Weekday] = Field(min_length=1)
    """On which `opens` is."""
    opens: ClockTime = time(0)
    closes: ClockTime = time(0)


class Schedule(Frozen):
    """When a route is open. Clock times count: an hour that is skipped or repeated when clocks
    change shortens or lengthens the hours around it."""

    time_zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    hours: tuple[Hours, ...] = Field(
        default=(Hours(days=frozenset(_DAYS)),), min_length=1, max_length=100
    )
    closed_on: frozenset[date] = Field(default=frozenset(), max_length=1000)
    """Days, in the time zone, on which nothing opens; hours of the evening before go on."""

    def is_open(self, at: datetime) -> bool:
        """Raises ValueError for a time without a zone."""
        if at.tzinfo is None:
            raise ValueError("a time without a time zone means nothing here")
        local = at.astimezone(ZoneInfo(self.time_zone))
        today, yesterday = local.date(), local.date() - timedelta(days=1)
        clock = local.time()
        return any(
            (self._opens(hours, today) and _in_first_day(hours, clock))
            or (self._opens(hours, yesterday) and _in_second_day(hours, clock))
            for hours in self.hours
        )

    def _opens(self, hours: Hours, day: date) -> bool:
        return _DAYS[day.weekday()] in hours.days and day not in self.closed_on


def _in_first_day(hours: Hours, clock: time) -> bool:
    return clock >= hours.opens and (clock < hours.closes or hours.closes <= hours.opens)


def _in_second_day(hours: Hours, clock: time) -> bool:
    return hours.closes <= hours.opens and clock < hours.closes
