from __future__ import annotations

import io
import json
import logging
import pickle
from typing import Any

import pytest
import structlog

from piko.observability.bindings import current_run, of_run
from piko.observability.logs import LINE, LineHandler, configure_logging, get_logger


class Terminal(io.StringIO):
    """A stream that calls itself a terminal."""

    def isatty(self) -> bool:
        return True


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_without_a_terminal_each_event_is_one_line_of_json() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    get_logger("piko.trial").info("run_finished", job_id="sync", text="two\nlines", attempt=2)
    (event,) = events(stream)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "run_finished",
        "level": "info",
        "logger": "piko.trial",
        "job_id": "sync",
        "text": "two\nlines",
        "attempt": 2,
    }


def test_on_a_terminal_an_event_is_readable() -> None:
    stream = Terminal()
    configure_logging(stream=stream)
    get_logger("piko.trial").info("run_finished", job_id="sync")
    text = stream.getvalue()
    assert "run_finished" in text
    assert "sync" in text
    assert not text.startswith("{")


@pytest.mark.parametrize(
    ("log_format", "stream", "is_json"), [("json", Terminal(), True), ("text", io.StringIO(), False)]
)
def test_the_format_can_be_chosen(log_format: Any, stream: io.StringIO, is_json: bool) -> None:
    configure_logging(log_format=log_format, stream=stream)
    get_logger("piko.trial").info("started")
    assert stream.getvalue().startswith("{") is is_json
    assert is_json or "\x1b[" not in stream.getvalue(), "colours are for terminals"


def fail_with(secret: str) -> None:
    raise ValueError(f"{len(secret)} characters")


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["JSON", "terminal"])
def test_an_exception_is_reported_without_the_values_of_variables(stream: io.StringIO) -> None:
    configure_logging(stream=stream)
    try:
        fail_with("".join(["hun", "ter", "2"]))
    except ValueError as error:
        get_logger("piko.trial").error("part_failed", exc_info=error)
    assert "ValueError: 7 characters" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_an_exception_stays_on_its_line_of_json() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    try:
        fail_with("x")
    except ValueError:
        get_logger("piko.trial").exception("part_failed")
    (event,) = events(stream)
    assert event["exception"].startswith("Traceback")


def test_libraries_speak_the_same_way() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    logging.getLogger("somebody.else").warning("a %s of theirs", "message", extra={"size": 3})
    (event,) = events(stream)
    assert event["event"] == "a message of theirs"
    assert (event["level"], event["logger"], event["size"]) == ("warning", "somebody.else", 3)


def test_a_logger_without_a_name_is_called_by_the_module_that_asked() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    structlog.get_logger().info("said")
    assert events(stream)[0]["logger"] == __name__


def test_handlers_of_others_get_the_event_as_it_is_written() -> None:
    stream, theirs = io.StringIO(), io.StringIO()
    configure_logging(stream=stream)
    handler = logging.StreamHandler(theirs)
    names = [name for name in vars(logging.makeLogRecord({})) if name not in ("msg", "args", "taskName")]
    handler.setFormatter(logging.Formatter("".join(f"%({name})s|" for name in names) + "\n%(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("piko.quiet").setLevel(logging.ERROR)
    get_logger("piko.trial").info("run_finished", text="100 %s")
    get_logger("piko.quiet").warning("left out")
    known, text = theirs.getvalue().split("\n", 1)
    assert text == stream.getvalue()
    assert events(stream)[0]["text"] == "100 %s"
    assert "piko.trial|" in known
    assert "INFO|" in known


def test_handlers_of_the_app_stay_whatever_is_configured_how_often() -> None:
    theirs = logging.StreamHandler(io.StringIO())
    root = logging.getLogger()
    root.addHandler(theirs)
    before = [each for each in root.handlers if not isinstance(each, LineHandler)]
    for _ in range(3):
        configure_logging(stream=io.StringIO())
    assert [each for each in root.handlers if not isinstance(each, LineHandler)] == before
    assert len(root.handlers) == len(before) + 1
    logging.getLogger("somebody.else").warning("for both")
    assert theirs.stream.getvalue() == "for both\n"


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


CIRCLE: dict[str, Any] = {}
CIRCLE["self"] = CIRCLE
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "value",
    [
        "x" * 1_600_000,
        "\0" * 50_000,
        ["an item"] * 100_000,
        {"key" * 10: "value" * 10_000},
        float("nan"),
        10**5_000,
        Unspeakable(),
        CIRCLE,
        DEEP,
        {(1, 2): 3},
        "\ud800",
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_an_event_holds_it_is_one_bounded_line_of_json(value: object) -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    get_logger("piko.trial").info("config_invalid", job_id="sync", error=value)
    logging.getLogger("somebody.else").warning("%s", "y" * 100_000, extra={"value": value})
    ours, theirs = events(stream)
    assert (ours["event"], ours["job_id"]) == ("config_invalid", "sync")
    assert theirs["logger"] == "somebody.else"
    assert max(map(len, stream.getvalue().splitlines())) <= LINE


def test_an_event_with_too_many_fields_keeps_what_names_it() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    fields = {f"field_{number}" * 100: "\0" * 5_000 for number in range(500)}
    get_logger("piko.trial").info("config_invalid", **fields, job_id="sync")
    (event,) = events(stream)
    assert (event["event"], event["job_id"]) == ("config_invalid", "sync")
    assert len(stream.getvalue()) <= LINE + 1


def test_a_field_is_bounded_for_a_person_too() -> None:
    stream = Terminal()
    configure_logging(stream=stream)
    get_logger("piko.trial").info("config_invalid", error="x" * 1_600_000, items=[1] * 100_000)
    assert len(stream.getvalue()) < LINE


class Unshowable(Exception):
    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        raise RuntimeError("its notes fail")


def test_an_exception_that_cannot_be_shown_does_not_fail_its_caller() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    get_logger("piko.trial").error("part_failed", exc_info=Unshowable("said"))
    assert "exception" in events(stream)[0]


def test_a_stream_that_somebody_has_closed_fails_nobody_who_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    monkeypatch.setattr("sys.stderr", stream)
    stream.close()
    get_logger("piko.trial").error("part_failed")
    logging.getLogger("somebody.else").warning("slow")


def test_details_and_chatter_are_left_out() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    get_logger("piko.trial").debug("detail")
    logging.getLogger("uvicorn.access").info("GET /healthz")
    logging.getLogger("alembic.runtime").info("Context impl")
    assert stream.getvalue() == ""


def test_debug_shows_the_details() -> None:
    stream = io.StringIO()
    configure_logging(debug=True, stream=stream)
    get_logger("piko.trial").debug("detail")
    assert events(stream)[0]["level"] == "debug"


def test_configured_twice_an_event_is_reported_once() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    configure_logging(stream=stream)
    get_logger("piko.trial").info("once")
    assert len(events(stream)) == 1


def test_a_logger_of_before_the_configuration_follows_it() -> None:
    early = get_logger("piko.trial")
    stream = io.StringIO()
    configure_logging(stream=stream)
    early.info("late")
    assert events(stream)[0]["event"] == "late"


def test_what_a_run_binds_is_in_its_events() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    with structlog.contextvars.bound_contextvars(run_id="run-1"):
        logging.getLogger("somebody.else").warning("slow")
    assert events(stream)[0]["run_id"] == "run-1"


def test_what_is_bound_can_travel_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(current_run())) == {}
    with of_run(job_id="sync", run_id="r1", attempt=2):
        travelled = pickle.loads(pickle.dumps(current_run()))
    assert travelled == {"job_id": "sync", "run_id": "r1", "attempt": 2}


def test_logs_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format="json")
    get_logger("piko.trial").info("said")
    output = capsys.readouterr()
    assert output.out == ""
    assert "said" in output.err
