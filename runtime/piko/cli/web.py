"""`piko web`: serve the API and the page over the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from piko.settings import Settings
    from piko.signals import StopSignals


def web() -> None:
    """Serve the API and the page over the database, until SIGTERM or Ctrl-C."""
    from piko.event_loop import run_to_end
    from piko.observability.logs import configure_logging
    from piko.settings import load_settings
    from piko.signals import StopSignals

    settings = load_settings()
    configure_logging(log_format=settings.log_format, debug=settings.debug)
    with StopSignals(last_words=lambda: "requests in progress were cut off") as signals:
        run_to_end(_serve(settings, signals))


async def _serve(settings: Settings, signals: StopSignals) -> None:
    from prometheus_client import CollectorRegistry

    from piko.background.waiting import first_of
    from piko.clock import SystemClock
    from piko.serving.listening import listen
    from piko.web.options import web_settings
    from piko.web.server import MOST_PEOPLE, serving_web

    with listen(settings.web_host, settings.web_port, setting="web") as listening:
        async with serving_web(
            web_settings(settings),
            listening,
            clock=SystemClock(),
            registry=CollectorRegistry(),
            most=MOST_PEOPLE,
        ) as ended:
            await first_of(signals.wait(), ended)
