"""The database of a trial, in a pod of its namespace (`examples/cluster/database.yaml`)."""

from __future__ import annotations

import json

from tests.e2e.cluster import Cluster


class TrialDatabase:
    """Asked in its own pod, and taken away from everybody else."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def sql(self, statement: str, *options: str) -> str:
        """What the database answers, asked with the password that the Secret holds."""
        template = "go-template={{.data.dsn | base64decode}}"
        dsn = self._cluster.kubectl("get", "secret", "piko-database", "-o", template)
        user, _, password = dsn.partition("://")[2].partition("@")[0].partition(":")
        return self._cluster.kubectl(
            "exec", "deploy/database", "--", "mariadb", "--host=127.0.0.1", f"--user={user}",
            f"--password={password}", *(options or ("--skip-column-names",)), "-e", statement, "piko",
        )  # fmt: skip

    def rows(self, statement: str) -> list[dict[str, str]]:
        """The rows of an answer, by column; NULL is the text NULL."""
        head, *lines = [line.split("\t") for line in self.sql(statement, "--batch").splitlines()] or [[]]
        return [dict(zip(head, line, strict=True)) for line in lines]

    @property
    def is_away(self) -> bool:
        service = json.loads(self._cluster.kubectl("get", "service", "database", "-o", "json"))
        return bool(service["spec"]["selector"]["app"] == "nobody")

    def take_away(self) -> None:
        """End its process, and let nobody reach the one that follows; what it holds stays."""
        self._select("nobody")
        self._cluster.kubectl("exec", "deploy/database", "--", "sh", "-c", "kill 1")

    def give_back(self) -> None:
        """Let everybody reach it again, and wait until a replica leads."""
        self._select("database")
        self._cluster.wait("a replica leads", lambda: bool(self._cluster.piko("status")["leaders"]))

    def _select(self, app: str) -> None:
        patch = json.dumps({"spec": {"selector": {"app": app}}})
        self._cluster.kubectl("patch", "service", "database", "--type=merge", "-p", patch)
