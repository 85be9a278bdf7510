"""Records that sinks refused, as the replicas list them; the records themselves stay on their disks."""

from __future__ import annotations

from sqlalchemy import Column, Index, String, Table

from piko.store.schema.column_types import INSTANT, JOB_ID, KEY, LONG_TEXT
from piko.store.schema.tables.metadata import ON_MYSQL, metadata

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("letter_id", KEY, primary_key=True, comment="one record that a sink refused; ids grow with time"),
    Column("instance_id", KEY, nullable=False, comment="runtime_instance whose spool has it"),
    Column("sink", String(255), nullable=False, comment="the sink that refused it"),
    Column("job_id", JOB_ID, nullable=False, comment="the job that wrote it; ?: its intent cannot be read"),
    Column("run_id", KEY, nullable=False, comment="the run that wrote it"),
    Column("record_key", String(255), nullable=False, comment="key of the write intent"),
    Column("error", LONG_TEXT, nullable=False, comment="what the sink said, in an excerpt"),
    Column("died_at", INSTANT, nullable=False, comment="when it was refused"),
    Column("asked", String(16), comment="replay or drop: its replica does so at its next look"),
    Column("asked_by", String(255), comment="who asked"),
    Column("asked_at", INSTANT, comment="when"),
    Column("answer", LONG_TEXT, comment="why the replica could not do what was asked last"),
    **ON_MYSQL,
)
Index("ix_dead_letter_instance", dead_letter.c.instance_id, dead_letter.c.letter_id)
Index("ix_dead_letter_sink", dead_letter.c.sink, dead_letter.c.letter_id)
Index("ix_dead_letter_job", dead_letter.c.job_id, dead_letter.c.letter_id)
Index("ix_dead_letter_run", dead_letter.c.run_id, dead_letter.c.letter_id)
