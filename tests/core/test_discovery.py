from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from piko.core.discovery import autodiscover
from piko.errors import DiscoveryError, RegistrationError
from tests.harness.programs import PikoProcessFactory

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write modules into a folder from which Python imports."""

    def call(**modules: str) -> None:
        for name, text in modules.items():
            path = tmp_path / (name.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            for folder in path.relative_to(tmp_path).parents:
                if folder != Path():
                    (tmp_path / folder / "__init__.py").touch()
            path.write_text(textwrap.dedent(text))

    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield call
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_jobs_are_found_at_any_depth_and_imported(write: Write) -> None:
    write(
        shop__jobs="", shop__orders__jobs="seen = True", shop__orders__eu__jobs="", shop__orders__other="1/0"
    )

    assert sorted(autodiscover("shop")) == ["shop.jobs", "shop.orders.eu.jobs", "shop.orders.jobs"]
    assert sys.modules["shop.orders.jobs"].seen
    assert "shop.orders.other" not in sys.modules


def test_the_name_of_the_modules_can_be_chosen(write: Write) -> None:
    write(shop__tasks="", shop__jobs="1/0")

    assert autodiscover("shop", "tasks") == ["shop.tasks"]


def test_a_folder_called_as_the_modules_is_found_too(write: Write) -> None:
    write(shop__jobs__orders="")

    assert autodiscover("shop") == ["shop.jobs"]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def", "SyntaxError: "),
    ],
)
def test_a_module_that_fails_is_named_with_its_cause(write: Write, text: str, cause: str) -> None:
    write(shop__orders__jobs=text)

    with pytest.raises(DiscoveryError) as caught:
        autodiscover("shop")

    assert f"autodiscover: importing shop.orders.jobs failed: {cause}" in str(caught.value)
    assert "run `python -c 'import shop.orders.jobs'` to reproduce it" in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_package_on_the_way_that_fails_is_named(write: Write, tmp_path: Path) -> None:
    write(shop__orders__jobs="")
    (tmp_path / "shop/orders/__init__.py").write_text("raise ValueError('no')")

    with pytest.raises(DiscoveryError, match=r"importing shop\.orders failed: ValueError: no"):
        autodiscover("shop")


def test_a_job_that_is_refused_keeps_its_own_message(write: Write) -> None:
    write(
        shop__jobs="""
            from piko import PikoApp

            @PikoApp(name="shop").job(job_id="orders")
            def handler(ctx, scheduled_time): ...
        """
    )

    with pytest.raises(DiscoveryError, match="the handler is not async") as caught:
        autodiscover("shop")
    assert isinstance(caught.value.__cause__, RegistrationError)


def test_a_package_without_jobs_is_reported_with_the_places_searched(write: Write, tmp_path: Path) -> None:
    write(shop__other="")

    with pytest.raises(DiscoveryError) as caught:
        autodiscover("shop")
    assert str(tmp_path / "shop") in str(caught.value)
    assert "create shop/jobs.py or name the right module" in str(caught.value)


def test_a_module_is_no_package(write: Write) -> None:
    write(shop="")

    with pytest.raises(DiscoveryError, match="shop is a module, not a package"):
        autodiscover("shop")


def test_a_package_that_is_not_there_is_named() -> None:
    with pytest.raises(DiscoveryError, match="importing nowhere failed: ModuleNotFoundError"):
        autodiscover("nowhere")


def test_a_folder_that_python_does_not_look_into_is_named(write: Write, tmp_path: Path) -> None:
    write(shop__jobs="", shop__orders__eu__jobs="")
    (tmp_path / "shop/orders/__init__.py").unlink()

    with pytest.raises(DiscoveryError) as caught:
        autodiscover("shop")
    assert str(tmp_path / "shop/orders/eu/jobs.py") in str(caught.value)
    assert f"{tmp_path / 'shop/orders'} has no __init__.py; create an empty one" in str(caught.value)


@pytest.mark.parametrize(
    ("modules", "module", "folder"),
    [
        (("shop__jobs__orders", "shop__jobs"), "shop/jobs.py", "shop/jobs/"),
        (("shop__eu__jobs__orders", "shop__eu__jobs"), "shop/eu/jobs.py", "shop/eu/jobs/"),
        (("shop__jobs", "shop"), "shop.py", "shop/"),
    ],
)
def test_a_module_and_a_folder_of_one_name_are_both_named(
    write: Write, tmp_path: Path, modules: tuple[str, ...], module: str, folder: str
) -> None:
    write(**dict.fromkeys(modules, ""))

    with pytest.raises(DiscoveryError) as caught:
        autodiscover("shop")
    assert f"there are both {tmp_path / module} and {tmp_path / folder}/" in str(caught.value)


def test_a_module_that_ends_the_process_is_named(write: Write) -> None:
    write(shop__jobs="import sys; sys.exit(0)")

    with pytest.raises(DiscoveryError, match=r"importing shop\.jobs failed: SystemExit: 0"):
        autodiscover("shop")


@pytest.mark.parametrize("command", [("program.py",), ("-m", "program")], ids=["python file", "python -m"])
def test_jobs_that_import_the_program_register_with_the_app_that_runs(
    command: tuple[str, ...], write: Write, tmp_path: Path, piko_process: PikoProcessFactory
) -> None:
    write(
        shop__jobs="""
            from program import app

            @app.job(job_id="orders")
            async def handler(ctx, scheduled_time): ...
        """,
        program="""
            from piko import PikoApp, autodiscover

            app = PikoApp(name="shop")
            autodiscover("shop")
            print([job.job_id for job in app.registry])
        """,
    )

    process = piko_process(*command, cwd=tmp_path)

    assert process.wait() == 0
    assert process.output.splitlines()[0] == "['orders']"
