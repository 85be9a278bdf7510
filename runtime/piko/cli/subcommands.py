"""The commands of `piko`, and who does each for somebody who calls `kubectl piko`.

All else that has to know the commands asks this table: the program, the plugin, and what finds commands in
texts. A command of which it says nothing more runs in a pod of the release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCommand:
    """A command that shows what the web service answers.

    - `unless`: options and arguments with which it does something else.
    - `of_job`: the argument that has to be the id of a job; None: any will do.
    """

    unless: Sequence[str] = ()
    of_job: str | None = None


@dataclass(frozen=True, slots=True)
class Subcommand:
    """A command, or a group of commands.

    - `path`: its module in this package, and its function or group there.
    - `here`: it needs no release, but for what it reads there.
    - `by_kubectl`: it acts in the cluster itself, with kubectl's options.
    - `reads`: what of it reads: commands of a group by their names, and one that is no group by "".
    - `absent`: why `kubectl piko` does not have it; None: it has.
    """

    path: str
    here: bool = False
    by_kubectl: bool = False
    reads: Mapping[str, ReadCommand] = field(default_factory=dict)
    absent: str | None = None

    @property
    def needs_no_release(self) -> bool:
        """Whether it never asks one, and takes no option of kubectl."""
        return self.here and not self.reads and not self.by_kubectl


_READS = {"": ReadCommand()}

SUBCOMMANDS: Mapping[str, Subcommand] = MappingProxyType(
    {
        "db": Subcommand("db.commands"),
        "spool": Subcommand("spool.commands", reads={"list": ReadCommand(unless=("folder", "on_disk"))}),
        "run": Subcommand("run.run", absent="the chart runs replicas"),
        "new": Subcommand("new.new", here=True),
        "dev": Subcommand("dev.dev", here=True),
        "test": Subcommand("test.run_once", here=True),
        "web": Subcommand("web.web", absent="the chart serves the page by a Deployment"),
        "settings": Subcommand("settings.settings"),
        "jobs": Subcommand("jobs.jobs", reads=_READS),
        "runs": Subcommand("runs.commands", reads={"list": ReadCommand(), "show": ReadCommand()}),
        "logs": Subcommand("logs.logs", reads=_READS),
        "status": Subcommand("status.status", reads=_READS),
        "why": Subcommand("why.why", reads=_READS),
        "watermark": Subcommand("watermark.watermark", reads={"": ReadCommand(unless=("to", "clear"))}),
        "report": Subcommand("report.report", reads=_READS),
        "next": Subcommand(
            "upcoming.next_instants", here=True, reads={"": ReadCommand(unless=("file",), of_job="what")}
        ),
        "late": Subcommand("late.late", reads=_READS),
        "trigger": Subcommand("act.trigger"),
        "pause": Subcommand("act.pause"),
        "resume": Subcommand("act.resume"),
        "edit": Subcommand("edit.edit"),
        "forget": Subcommand("act.forget"),
        "backfill": Subcommand("backfill.commands", reads={"status": ReadCommand()}),
        "config": Subcommand("config.commands", reads={"history": ReadCommand()}),
        "validate": Subcommand("validate.validate", here=True),
        "export": Subcommand("export.export", reads=_READS),
        "diff": Subcommand("diff.diff", reads=_READS),
        "plan": Subcommand("plan.plan", reads=_READS),
        "uninstall": Subcommand("uninstall.uninstall", here=True, by_kubectl=True),
        "import": Subcommand("imports.commands", here=True),
        "completion": Subcommand("completion.completion", here=True),
    }
)
"""By name, in the order of the help."""
