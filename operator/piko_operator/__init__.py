"""The operator mirrors custom resources into rows of the database, and runs into their status."""

from __future__ import annotations

from piko.first_process import end_like_any_other_process

end_like_any_other_process()
