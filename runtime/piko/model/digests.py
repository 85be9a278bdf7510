"""Digests: values that change whenever a row, or a table, is edited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from zlib import crc32

Digest = tuple[int, datetime]
"""Of a row: its version, and when it was written last."""

Mark = tuple[object, ...]
"""Of a whole table: a checksum.

Two edits that cancel each other out show in the digests of the rows alone.
"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """A table summed up: two that are equal stand for the same rows, but for what cancels out.

    `checksum` is over job id, version and time of each row; None: it was not asked for.
    """

    rows: int = 0
    versions: int = 0
    checksum: int | None = 0

    def with_row(self, job_id: str, digest: Digest) -> Tally:
        return self._moved(job_id, digest, 1)

    def without_row(self, job_id: str, digest: Digest) -> Tally:
        return self._moved(job_id, digest, -1)

    def _moved(self, job_id: str, digest: Digest, by: int) -> Tally:
        version, _ = digest
        checksum = None if self.checksum is None else self.checksum + by * _checksum(job_id, digest)
        return Tally(rows=self.rows + by, versions=self.versions + by * version, checksum=checksum)

    def equals(self, other: Tally) -> bool:
        """Whether both stand for the same rows, as far as both were asked for."""
        checked = self.checksum is None or other.checksum is None or self.checksum == other.checksum
        return checked and (self.rows, self.versions) == (other.rows, other.versions)


class RunningTally:
    """The tally of rows that come and go. Its numbers are changed in place: there may be very many."""

    def __init__(self) -> None:
        self._rows = self._versions = self._checksum = 0

    @property
    def now(self) -> Tally:
        return Tally(rows=self._rows, versions=self._versions, checksum=self._checksum)

    def put(self, job_id: str, digest: Digest) -> None:
        """One more row."""
        self._rows += 1
        self._versions += digest[0]
        self._checksum += _checksum(job_id, digest)

    def drop(self, job_id: str, digest: Digest) -> None:
        """One row less."""
        self._rows -= 1
        self._versions -= digest[0]
        self._checksum -= _checksum(job_id, digest)


def _checksum(job_id: str, digest: Digest) -> int:
    """As the database computes it, which writes a time in seconds since 1970."""
    version, updated_at = digest
    since = updated_at - _EPOCH
    return crc32(
        f"{job_id}/{version}/{since.days * 86_400 + since.seconds}.{since.microseconds:06d}".encode()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """One look at a table: the digests of the rows that were written lately, and the whole table's tally.

    Both are of one moment, `at` by the database's clock.
    """

    at: datetime
    digests: Mapping[str, Digest]
    tally: Tally
