"""Pure time: from an expression to instants, and from instants to windows.

Nothing here reads a clock, a file or a network; the present comes in as an argument. Only the time
zone database is read, by `zoneinfo`.
"""

from piko.schedule.counting import count_instants, latest_but
from piko.schedule.explain import ExplainedInstant, Explanation, explain, why_silent
from piko.schedule.jitter import jitter_warning, start_offset
from piko.schedule.parsing import parse_schedule, schedule_of_row
from piko.schedule.schedule import Schedule
from piko.schedule.windows import latest_window, missing_windows, window_ending_at, without_bounds

__all__ = [
    "ExplainedInstant",
    "Explanation",
    "Schedule",
    "count_instants",
    "explain",
    "jitter_warning",
    "latest_but",
    "latest_window",
    "missing_windows",
    "parse_schedule",
    "schedule_of_row",
    "start_offset",
    "why_silent",
    "window_ending_at",
    "without_bounds",
]
