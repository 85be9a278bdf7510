"""The judge of held rows reports who waited for another's job, and nothing else."""

from __future__ import annotations

import pytest

from tests.soak.test_judge import note
from tests.soak.trouble import Holding, waited_for_another
from tests.soak.witness import Said

HELD = Holding("held", 10.0, 20.0)


def reported(*answers: str) -> list[Said]:
    """An answer of one replica each second."""
    return [
        Said("one", 9.5 + number, 9.6 + number, 200 if text else 503, text)
        for number, text in enumerate(answers)
    ]


LEADS = reported(*["leader"] * 12)
OTHERS = [note(number) for number in range(30)]
ITS_OWN = [note(number, job_id="held") for number in range(30)]


@pytest.mark.parametrize(
    ("begun", "said", "violated"),
    [
        (OTHERS, LEADS, False),
        ([*OTHERS[:12], *OTHERS[16:]], LEADS, False),
        (ITS_OWN, LEADS, True),
        ([*OTHERS[:12], *OTHERS[19:], *ITS_OWN], LEADS, True),
        (ITS_OWN, reported(*["leader"] * 5, "", *["leader"] * 5), False),
        (ITS_OWN, reported(*["standby"] * 11), False),
    ],
)
def test_others_that_wait_are_reported_where_one_led_all_the_while(
    begun: list[object], said: list[Said], violated: bool
) -> None:
    assert bool(list(waited_for_another([HELD], begun, said))) == violated  # type: ignore[arg-type]
