"""`piko web`: serve the API and the page over the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from piko.settings import Settings
    from piko.signals import StopSignals
    from piko.web.options import WebSettings


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
    import asyncio

    from prometheus_client import CollectorRegistry

    from piko.clock import SystemClock
    from piko.observability.logs import get_logger
    from piko.serving.listening import listen
    from piko.web.server import web_server

    log = get_logger(__name__)
    server = web_server(_web_settings(settings), clock=SystemClock(), registry=CollectorRegistry())
    with listen(settings.web_host, settings.web_port, setting="web") as listening:
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(listening), name="web")
            host, port = listening.getsockname()[:2]
            log.info("listening", host=host, port=port, access=settings.web_access)
            await signals.wait()
            server.stop()


def _web_settings(settings: Settings) -> WebSettings:
    from piko.web.options import WebSettings

    return WebSettings(
        dsn=settings.mysql_dsn,
        timezone=settings.timezone,
        access=settings.web_access,
        tokens_dir=settings.web_tokens_dir,
        user_header=settings.web_user_header,
        groups_header=settings.web_groups_header,
        operators=_parts(settings.web_operators),
        trusted_proxies=_parts(settings.web_trusted_proxies),
        namespace=settings.web_namespace,
    )


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
