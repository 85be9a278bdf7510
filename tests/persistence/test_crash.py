"""What is acknowledged as spooled survives kill -9 and a full disk."""

from __future__ import annotations

import os
from pathlib import Path

from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.persistence.writing import Remembering, running

# The programs below use this suite's own sinks.
PATHS = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])}

PRODUCER = """
import asyncio, os, sys
from pathlib import Path
from tests.persistence.writing import Remembering, intent, running

async def main():
    sink = Remembering("memory", durability="spooled", batch_size=50)
    written = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    write = sink.write_batch
    async def evident(batch):
        await write(batch)
        os.write(written, "".join(f"{item.key}\\n" for item in batch).encode())
    sink.write_batch = evident
    async with running(sink, folder=Path(sys.argv[1]), owner=sys.argv[2]) as (writer, _):
        number = 0
        while True:
            batch = [intent(f"{sys.argv[2]}-{number + at}", {"n": number + at}) for at in range(20)]
            await writer.enqueue_many(batch)
            number += 20
            os.write(1, f"acknowledged {number}\\n".encode())

asyncio.run(main())
"""


async def test_nothing_acknowledged_is_lost_however_often_the_process_is_killed(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    script = tmp_path / "producer.py"
    script.write_text(PRODUCER)
    spool, evidence = tmp_path / "spool", tmp_path / "written"
    promised: set[str] = set()
    for life in range(4):
        process = piko_process(
            str(script),
            str(spool),
            f"life{life}",
            str(evidence),
            env=PATHS,
            name=f"life{life}",
        )
        process.wait_for_line(f"acknowledged {(life + 1) * 400}")
        process.kill()
        whole_lines, _, _ = process.output.rpartition("\n")
        count = int(whole_lines.split()[-1])
        promised |= {f"life{life}-{number}" for number in range(count)}
    survivor = Remembering("memory", durability="spooled")

    def missing() -> set[str]:
        return promised - set(evidence.read_text().split()) - set(survivor.keys)

    async with running(survivor, folder=spool, owner="last", budget_s=PATIENCE_S) as (writer, _):
        await wait_until_async(lambda: not missing(), what="everything that was acknowledged")
        # What the dead had delivered already is recovered too, if only to be cleared away.
        await wait_until_async(
            lambda: not list(spool.glob("life*")), what="the end of the dead processes' spools"
        )
        await writer.drain(PATIENCE_S)
    assert missing() == set()
    assert list(spool.glob("*")) == []


FULL = """
import asyncio, resource, signal, sys
from pathlib import Path
from piko.errors import SpoolError
from tests.persistence.writing import Remembering, intent, running

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sink = Remembering("memory", durability="spooled")
    sink.down = True
    async with running(sink, folder=Path(sys.argv[1]), budget_s=0) as (writer, _):
        acknowledged = 0
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        try:
            while True:
                await writer.enqueue(intent(acknowledged, {"text": "x" * 2000}))
                acknowledged += 1
        except SpoolError as error:
            print("refused:", error, flush=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await writer.enqueue(intent("after", None))
        print("acknowledged", acknowledged, flush=True)

asyncio.run(main())
"""


async def test_a_full_disk_refuses_what_it_cannot_keep_and_keeps_what_it_acknowledged(
    piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    script = tmp_path / "full.py"
    script.write_text(FULL)
    process = piko_process(str(script), str(tmp_path / "spool"), env=PATHS, name="full")
    assert process.wait() == 0
    assert "is its disk full, or read-only?" in process.wait_for_line("refused:")
    acknowledged = int(process.wait_for_line("acknowledged").split()[1])
    assert acknowledged > 10
    recovered = Remembering("memory", durability="spooled")
    async with running(recovered, folder=tmp_path / "spool", owner="next"):
        await wait_until_async(lambda: len(recovered.keys) > acknowledged, what="what was acknowledged")
    assert recovered.keys == [*(str(number) for number in range(acknowledged)), "after"]
