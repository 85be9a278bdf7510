from __future__ import annotations

from functools import partial

import pytest

from tests.failures.two_replicas import TwoReplicas, two_replicas_by
from tests.harness.reaper import Reaper


@pytest.fixture
def two_replicas(reaper: Reaper) -> TwoReplicas:
    """Makes a stage with a leader and a standby on a MariaDB of their own."""
    return partial(two_replicas_by, reaper)
