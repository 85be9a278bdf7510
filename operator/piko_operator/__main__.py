"""`python -m piko_operator`: the operator, until SIGTERM."""

from __future__ import annotations

import logging
import sys

import uvloop

from piko.errors import SettingsError
from piko.observability.logs import configure_logging
from piko_operator.settings import load_settings


def main() -> int:
    """Run the operator. Returns 0 after a stop by signal, 2 for invalid settings."""
    try:
        settings = load_settings()
    except SettingsError as error:
        sys.stderr.write(f"piko-operator: {error}\n")
        return 2
    configure_logging(log_format=settings.log_format, debug=settings.debug)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # kopf is stopped by a flag; otherwise it would warn at every start that it does not handle signals.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)

    from piko_operator.program import (
        Operator,  # after the settings, so that their errors appear without a delay
    )

    try:
        uvloop.run(Operator(settings=settings).run())
    except SettingsError as error:
        sys.stderr.write(f"piko-operator: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
