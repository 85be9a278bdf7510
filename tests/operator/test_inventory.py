"""What is known of the resources when the watch and a listing disagree."""

from __future__ import annotations

from typing import Any

from piko_operator.inventory import SCHEDULE, Inventory, Seen, seen_from


def _seen(uid: str, *, version: int = 1, generation: int = 1, job: str = "job") -> Seen:
    metadata: dict[str, Any] = {
        "namespace": "ns",
        "name": uid,
        "uid": uid,
        "generation": generation,
        "resourceVersion": str(version),
    }
    return seen_from({"metadata": metadata, "spec": {"jobId": job}}, kind=SCHEDULE)


def _marked(inventory: Inventory) -> set[str]:
    return {seen.uid for seen in inventory.take_marked()}


async def test_a_listing_removes_what_the_watch_missed() -> None:
    inventory = Inventory()
    inventory.listed(SCHEDULE, [_seen("a"), _seen("b", job="other")], since=0)
    assert _marked(inventory) == {"a", "b"}
    inventory.listed(SCHEDULE, [_seen("a")], since=inventory.order)
    assert "b" not in inventory


async def test_what_the_watch_shows_during_a_listing_outlives_it() -> None:
    inventory = Inventory()
    since = inventory.order
    inventory.observe(_seen("new"))
    inventory.listed(SCHEDULE, [], since=since)
    assert "new" in inventory


async def test_an_older_view_does_not_replace_a_newer_one() -> None:
    inventory = Inventory()
    inventory.observe(_seen("a", version=10, generation=2))
    inventory.observe(_seen("a", version=9, generation=1))
    found = inventory.get("a")
    assert found is not None
    assert found.generation == 2


async def test_a_change_of_status_alone_marks_nothing() -> None:
    inventory = Inventory()
    inventory.observe(_seen("a", version=1))
    assert _marked(inventory) == {"a"}
    inventory.observe(_seen("a", version=2))
    assert _marked(inventory) == set()
    inventory.observe(_seen("a", version=3, generation=2))
    assert _marked(inventory) == {"a"}


async def test_who_lost_a_job_is_looked_at_when_the_owner_goes() -> None:
    inventory = Inventory()
    inventory.observe(_seen("owner"))
    inventory.observe(_seen("loser"))
    inventory.observe(_seen("stranger", job="other"))
    inventory.take_marked()
    inventory.forget("owner")
    assert _marked(inventory) == {"loser"}
