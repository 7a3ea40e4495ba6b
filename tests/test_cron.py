"""Cron lines and time zones: what is taken and refused, and when the next time is, as Dagster reads it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import cron_string_iterator
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from vqa_pipeline.cron import CronSettings


def explain(error: pytest.ExceptionInfo[ValidationError]) -> dict[str, str]:
    """Reasons by setting."""
    return {".".join(map(str, one["loc"])): one["msg"] for one in error.value.errors()}


@pytest.mark.parametrize(
    "cron",
    [
        "0 2 * * *",
        "*/15 * * * *",
        "0,30 8-18/2 1-7 jan-mar MON",
        "5/10 0 29 2 *",
        "59 23 31 12 7",
        "0 0 31 2,3 *",
        "0   2 *\t* *",
    ],
)
def test_a_cron_line_is_kept_as_it_is_written(cron):
    assert CronSettings(cron=cron) == CronSettings(cron=cron, timezone="UTC")
    assert CronSettings(cron=cron).cron == cron


MINUTES = "is no minute: write 0 to 59, a range such as 1-5, *, or every second as */2; several are separated by commas"


@pytest.mark.parametrize(
    ("cron", "reason"),
    [
        ("", "a cron line has five fields, such as `0 2 * * *`"),
        ("0 2 * *", "a cron line has five fields, such as `0 2 * * *`"),
        ("0 0 2 * * *", "a cron line has five fields, such as `0 2 * * *`"),
        ("@daily", "a cron line has five fields, such as `0 2 * * *`"),
        ("99 * * * *", f"'99' {MINUTES}"),
        ("a * * * *", f"'a' {MINUTES}"),
        ("-1 * * * *", f"'-1' {MINUTES}"),
        ("30-10 * * * *", f"'30-10' {MINUTES}"),
        ("5-5 * * * *", f"'5-5' {MINUTES}"),
        ("1,,2 * * * *", f"'' {MINUTES}"),
        ("*/0 * * * *", f"'*/0' {MINUTES}"),
        ("*/61 * * * *", f"'*/61' {MINUTES}"),
        ("1/2/3 * * * *", f"'1/2/3' {MINUTES}"),
        ("* 24 * * *", "'24' is no hour: write 0 to 23, "),
        ("* * 0 * *", "'0' is no day of month: write 1 to 31, "),
        ("* * L * *", "'l' is no day of month: write 1 to 31, "),
        ("* * * 13 *", "'13' is no month: write 1 to 12 or jan to dec, "),
        ("* * * january *", "'january' is no month"),
        ("* * * * 8", "'8' is no day of week: write 0 to 7 or sun to sat, "),
        ("* * * * mon-", "'mon-' is no day of week"),
        ("٣ * * * *", "'٣' is no minute"),
        ("0 0 31 2 *", "day 31 is in none of its months"),
        ("0 0 31 4,6,9,11 *", "day 31 is in none of its months"),
        ("0 0 30,31 feb mon", "day 30 is in none of its months"),
    ],
)
def test_a_wrong_cron_line_is_told_by_its_wrong_field(cron, reason):
    with pytest.raises(ValidationError) as error:
        CronSettings(cron=cron)
    assert explain(error)["cron"].startswith(f"Value error, {reason}")


def cron_fields(low: int, high: int, *words: str) -> st.SearchStrategy[str]:
    values = st.integers(low, high).map(str) | (st.sampled_from(words) if words else st.nothing())
    ends = st.lists(st.integers(low, high), min_size=2, max_size=2, unique=True)
    ranges = ends.map(lambda pair: f"{min(pair)}-{max(pair)}")
    steps = st.integers(1, high - low + 1)
    items = st.one_of(
        st.just("*"),
        values,
        ranges,
        st.tuples(st.just("*") | st.integers(low, high - 2).map(str) | ranges, steps).map(
            lambda pair: f"{pair[0]}/{pair[1]}"
        ),
    )
    return st.lists(items, min_size=1, max_size=3).map(",".join)


CRON_LINES = st.tuples(
    cron_fields(0, 59),
    cron_fields(0, 23),
    cron_fields(1, 31),
    cron_fields(1, 12, "jan", "Feb", "DEC"),
    cron_fields(0, 7, "sun", "Mon", "SAT"),
).map(" ".join)


@given(cron=CRON_LINES)
def test_dagster_takes_every_cron_line_that_is_taken_here(cron):
    try:
        settings = CronSettings(cron=cron)
    except ValidationError as error:
        assert "is in none of its months" in str(error)
    else:
        assert dg.AutomationCondition.cron_tick_passed(settings.cron, settings.timezone)


@given(cron=st.text(alphabet="0123456789*/,-aujn ", max_size=16))
def test_any_text_is_a_schedule_to_dagster_too_or_refused_in_words(cron):
    try:
        settings = CronSettings(cron=cron)
    except ValidationError as error:
        assert "Value error, " in str(error)
    else:
        assert dg.AutomationCondition.cron_tick_passed(settings.cron, settings.timezone)


@pytest.mark.parametrize("timezone", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"])
def test_a_time_zone_is_one_that_dagster_knows(timezone):
    assert dg.AutomationCondition.cron_tick_passed(
        "0 2 * * *", CronSettings(cron="0 2 * * *", timezone=timezone).timezone
    )


@pytest.mark.parametrize("timezone", ["Europe/Bonn", "Europe", "", "../UTC", "/etc/localtime", "Berlin\0", "+01:00"])
def test_a_wrong_time_zone_is_told_with_an_example(timezone):
    with pytest.raises(ValidationError) as error:
        CronSettings(cron="0 2 * * *", timezone=timezone)
    assert explain(error) == {"timezone": f"Value error, {timezone!r} is not an IANA time zone such as Europe/Berlin"}


# ------------------------------------------------------------------------------------------------------- the next time


@pytest.mark.parametrize(
    ("cron", "timezone", "after", "expected"),
    [
        ("0 2 * * *", "UTC", "2026-11-26T01:59:59Z", "2026-11-26T02:00:00+00:00"),
        ("0 2 * * *", "UTC", "2026-11-26T02:00:00Z", "2026-11-27T02:00:00+00:00"),
        ("0 2 * * *", "Europe/Berlin", "2026-11-26T01:30:00Z", "2026-11-27T02:00:00+01:00"),
        ("*/15 * * * *", "UTC", "2026-12-31T23:50:00Z", "2027-01-01T00:00:00+00:00"),
        ("30 6 * * mon", "UTC", "2026-11-26T00:00:00Z", "2026-11-30T06:30:00+00:00"),
        ("0 0 29 2 *", "UTC", "2026-11-26T00:00:00Z", "2028-02-29T00:00:00+00:00"),
        ("0 0 13 * fri", "UTC", "2026-11-26T00:00:00Z", "2026-11-27T00:00:00+00:00"),
        ("0 0 */2 * 0-6", "UTC", "2026-11-25T00:00:00Z", "2026-11-27T00:00:00+00:00"),
        ("0 0 1-31/2 * 0-6", "UTC", "2026-11-25T00:00:00Z", "2026-11-26T00:00:00+00:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T03:30:00+02:00"),
    ],
)
def test_the_next_time_is_told_in_the_schedules_own_zone(cron, timezone, after, expected):
    found = CronSettings(cron=cron, timezone=timezone).find_next(datetime.fromisoformat(after))
    assert found.isoformat() == expected


LIKE_EVERY_DAY = st.sampled_from(["*", "*/1", "*/2", "1-31", "1-31/2", "3,*", "5"])
LIKE_EVERY_WEEKDAY = st.sampled_from(["*", "*/1", "*/2", "0-6", "1-7", "sun-sat", "0-7", "mon,*", "tue"])
"""Every day, and what looks like it: whether one restricts the other hangs on how both are written."""


@settings(max_examples=150)
@given(
    CRON_LINES | st.tuples(LIKE_EVERY_DAY, LIKE_EVERY_WEEKDAY).map(lambda pair: f"0 0 {pair[0]} * {pair[1]}"),
    st.datetimes(datetime(2025, 1, 1), datetime(2029, 1, 1)),  # noqa: DTZ001 - made aware below
    st.sampled_from(["UTC", "Asia/Kolkata"]),
)
def test_the_next_time_is_that_of_dagster(cron, after, timezone):
    """In zones without a change of clocks; where the clocks change, the two may part by that hour."""
    try:
        schedule = CronSettings(cron=cron, timezone=timezone)
    except ValidationError:
        assume(False)  # noqa: FBT003
    after = after.replace(second=1, microsecond=0, tzinfo=UTC)
    expected = next(cron_string_iterator(after.timestamp(), schedule.cron, timezone))
    assert schedule.find_next(after) == expected


@given(st.datetimes(datetime(2025, 1, 1), datetime(2029, 1, 1)))  # noqa: DTZ001 - made aware below
def test_each_night_has_its_time_whatever_the_clocks_do(after):
    after = after.replace(tzinfo=UTC)
    found = CronSettings(cron="30 2 * * *", timezone="Europe/Berlin").find_next(after)
    assert timedelta(0) < found - after <= timedelta(hours=25)
    assert found.astimezone(ZoneInfo("Europe/Berlin")).strftime("%H:%M") in {"02:30", "03:30"}
