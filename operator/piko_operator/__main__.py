"""`python -m piko_operator`: the operator, until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import sys

from piko.errors import SettingsError
from piko.observability.logs import configure_logging
from piko_operator.settings import load_settings


def main() -> int:
    """0 after a stop by signal, 2 for settings that cannot work."""
    try:
        settings = load_settings()
    except SettingsError as error:
        sys.stderr.write(f"piko-operator: {error}\n")
        return 2
    configure_logging(log_format=settings.log_format, debug=settings.debug)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # kopf is stopped by a flag; its warning that signals are not its own would be one at every start.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)

    from piko_operator.program import Operator  # after the settings: their errors should not wait a second

    try:
        asyncio.run(Operator(settings=settings).run())
    except SettingsError as error:
        sys.stderr.write(f"piko-operator: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
