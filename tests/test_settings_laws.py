"""Any text as a DSN, a variable or a settings file: it works, or one message names what is wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piko.dsn import DSN_EXAMPLE, parse_dsn
from piko.errors import SettingsError
from piko.settings import Settings, load_settings
from piko.store.engine import open_database
from piko_operator.settings import load_settings as load_operator_settings

PASSWORD = "hunter2"

# What a variable can hold: anything but NUL; bytes that are no UTF-8 come as lone surrogates.
ENVIRONMENT_TEXT = st.text(
    st.one_of(
        st.characters(exclude_characters="\x00", exclude_categories=["Cs"]),
        st.sampled_from("\udc80\udcff\ufeff\u2028 \t\n\r'\"{}[]%&?=@:/#\\"),
    ),
    max_size=40,
)
SPACE = st.text(" \t\r\n", max_size=3)


def _near(*valid: str) -> st.SearchStrategy[str]:
    """Valid texts, and what a slip of the hand makes of them."""

    def slip(text: str, at: int, put: str, cut: int) -> str:
        at = at % (len(text) + 1)
        return text[:at] + put + text[at + cut :]

    slips = st.builds(slip, st.sampled_from(valid), st.integers(0, 200), ENVIRONMENT_TEXT, st.integers(0, 3))
    return st.one_of(st.sampled_from(valid), slips)


OPTION = st.tuples(
    st.one_of(_near("charset", "unix_socket", "ssl_mode", "ssl_ca", "ssl_cert", "ssl_key"), ENVIRONMENT_TEXT),
    st.one_of(_near("utf8mb4", "required", "verify_ca", "/nonexistent/file.pem", "true"), ENVIRONMENT_TEXT),
)
DSN = st.builds(
    "{}{}{}{}{}{}{}".format,
    st.sampled_from(["mysql+asyncmy://", "sqlite+aiosqlite://", "mysql://", "mysql+asyncmy:/", ""]),
    st.one_of(st.just("piko:pw@"), st.just(""), ENVIRONMENT_TEXT),
    st.one_of(_near("db.example.com", "[fd00::7]", "10.0.0.7"), ENVIRONMENT_TEXT),
    st.one_of(st.just(""), st.integers(-1, 99999).map(":{}".format), ENVIRONMENT_TEXT),
    st.one_of(st.just("/piko"), st.just("/"), ENVIRONMENT_TEXT),
    st.lists(OPTION, max_size=3).map(lambda pairs: "?" * bool(pairs) + "&".join(map("=".join, pairs))),
    SPACE,
)


def _refusal(attempt: Callable[[], object]) -> str | None:
    """The message of what was refused; None where it works. Anything else that is raised is a defect."""
    try:
        attempt()
    except SettingsError as error:
        return str(error)
    return None


def _engines(dsn: str) -> None:
    """As far as it goes without a server: the engines are made, and the driver's arguments."""
    database = open_database(dsn)
    for engine in (database.engine, database.autocommit):
        engine.dialect.create_connect_args(engine.url)


@settings(max_examples=800)
@given(dsn=st.one_of(DSN, ENVIRONMENT_TEXT, _near(DSN_EXAMPLE, "sqlite+aiosqlite:////tmp/piko.db")))
def test_any_text_is_a_dsn_that_works_or_is_refused_by_name(dsn: str) -> None:
    message = _refusal(lambda: _engines(dsn))

    assert message is None or "`mysql_dsn`" in message


@settings(max_examples=400)
@given(option=OPTION)
def test_an_option_of_a_dsn_works_or_is_named(option: tuple[str, str]) -> None:
    name, value = (quote(part, errors="replace") for part in option)
    message = _refusal(lambda: _engines(f"mysql+asyncmy://u:{PASSWORD}@h/piko?{name}={value}"))

    if message is not None:
        assert f"`{unquote(name)}`" in message or not unquote(name)
        assert PASSWORD not in message


@settings(max_examples=600)
@given(before=ENVIRONMENT_TEXT, behind=ENVIRONMENT_TEXT)
def test_a_password_is_not_shown_even_where_it_breaks_its_url(before: str, behind: str) -> None:
    message = _refusal(lambda: parse_dsn(f"mysql+asyncmy://piko:{before}{PASSWORD}{behind}@h/piko?x=y"))

    assert message is not None
    assert PASSWORD not in message


NAMES = sorted(name for name in Settings.model_fields if name != "mysql_dsn")
VALUES = st.one_of(
    ENVIRONMENT_TEXT,
    _near("true", "1", "0.5", "-1", "1e400", "nan", "UTC", "Asia/Tokyo", "leader", "auto", "2026-01-01"),
    st.integers().map(str),
    st.floats().map(str),
)


@settings(max_examples=600)
@given(
    variables=st.dictionaries(
        st.one_of(st.sampled_from(NAMES), _near(*NAMES)).map(lambda name: f"PIKO_{name.upper()}"),
        st.builds("{}{}{}".format, SPACE, VALUES, SPACE),
        max_size=4,
    )
)
def test_any_environment_gives_settings_or_a_message_that_names_the_variable(
    variables: Mapping[str, str], empty_folder: Path
) -> None:
    _load_or_name(
        variables,
        lambda: load_settings(
            environment={"PIKO_MYSQL_DSN": DSN_EXAMPLE, **variables}, directory=empty_folder
        ),
    )


@settings(max_examples=400)
@given(
    variables=st.dictionaries(
        _near(
            "PIKO_OPERATOR_CLUSTER",
            "PIKO_OPERATOR_NAMESPACES",
            "PIKO_OPERATOR_HTTP_PORT",
            "PIKO_OPERATOR_SWEEP_INTERVAL_S",
            "PIKO_OPERATOR_LOG_FORMAT",
            "PIKO_OPERATOR_DEBUG",
        ),
        st.builds("{}{}{}".format, SPACE, VALUES, SPACE),
        max_size=4,
    )
)
def test_any_environment_gives_settings_of_the_operator_or_a_message_that_names_the_variable(
    variables: Mapping[str, str],
) -> None:
    _load_or_name(variables, lambda: load_operator_settings({"PIKO_MYSQL_DSN": DSN_EXAMPLE, **variables}))


def _load_or_name(variables: Mapping[str, str], load: Callable[[], object]) -> None:
    message = _refusal(load)

    names = {*variables, *(name.removeprefix("PIKO_").lower() for name in variables)}
    assert message is None or any(name in message for name in names)


# Files: bytes of any kind, and TOML that is nearly what is expected.
LINE = st.one_of(
    st.builds(
        "{} = {}".format,
        st.one_of(st.sampled_from([*NAMES, "mysql_dsn", "HTTP_PORT"]), _near(*NAMES)),
        st.one_of(
            st.sampled_from(
                ["true", "1", "0.5", "inf", "nan", '"x"', "[1]", "{a = 1}", "2026-01-01", "07:00:00"]
            ),
            st.integers().map(str),
            ENVIRONMENT_TEXT.map(lambda text: f"'{text}'"),
            ENVIRONMENT_TEXT,
            st.integers(1, 2000).map(lambda depth: "[" * depth + "]" * depth),
        ),
    ),
    _near("[default]", "[production]", "[[default]]", "[default.more]"),
    ENVIRONMENT_TEXT,
)
FILE = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda mark, head, lines, ending: (mark + head + ending.join(lines)).encode(errors="surrogatepass"),
        st.sampled_from(["", "\ufeff"]),
        st.sampled_from(["[default]\n", "[default]\r\n", ""]),
        st.lists(LINE, max_size=4),
        st.sampled_from(["\n", "\r\n", "\r"]),
    ),
)


@settings(max_examples=600)
@given(content=FILE)
def test_any_settings_file_gives_settings_or_a_message_that_names_it(
    content: bytes, empty_folder: Path
) -> None:
    with tempfile.TemporaryDirectory(dir=empty_folder) as name:
        path = Path(name) / "settings.toml"
        path.write_bytes(content)
        message = _refusal(lambda: load_settings(environment={}, directory=Path(name), mysql_dsn=DSN_EXAMPLE))

        # A setting that does not go with another one is named together with that one.
        named = (str(path), "leader_lease_s", "dask_address")
        assert message is None or any(name in message for name in named)


@pytest.fixture(scope="module")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("empty")
