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
    return {seen.uid for seen in inventory.take_marked(100)}


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
    inventory.take_marked(100)
    inventory.forget("owner")
    assert _marked(inventory) == {"loser"}


async def test_a_resource_that_changed_overtakes_those_that_are_only_compared() -> None:
    inventory = Inventory()
    inventory.listed(SCHEDULE, [_seen(f"old-{number}") for number in range(5)], since=0)
    inventory.take_marked(100)
    inventory.compare(*(f"old-{number}" for number in range(5)))
    inventory.observe(_seen("new"))
    assert [seen.uid for seen in inventory.take_marked(2)] == ["new", "old-0"]
    assert inventory.marked.is_set(), "the rest is still marked"
    assert len(inventory.take_marked(100)) == 4


async def test_a_later_listing_marks_only_what_differs() -> None:
    inventory = Inventory()
    inventory.listed(SCHEDULE, [_seen("a"), _seen("b", job="other")], since=0)
    inventory.take_marked(100)
    found = [_seen("a"), _seen("b", job="other", version=2, generation=2)]
    inventory.listed(SCHEDULE, found, since=inventory.order)
    assert _marked(inventory) == {"b"}


async def test_what_ends_before_it_is_held_is_kept_until_its_row_is_released() -> None:
    inventory = Inventory()
    inventory.observe(_seen("a"))
    inventory.take_marked(100)
    inventory.deleted("a")
    (left,) = inventory.take_marked(100)
    assert (left.uid, left.deleting, left.deleted) == ("a", True, True)
    assert not inventory.has(SCHEDULE, namespace="ns", name="a"), "the name is free"
    assert inventory.heirs(SCHEDULE, "job") == []
    inventory.observe(_seen("a", version=9))
    kept = inventory.get("a")
    assert kept is not None
    assert kept.deleted, "an answer that was under way does not revive it"
    inventory.forget("a")
    assert "a" not in inventory
    assert inventory.of_job(SCHEDULE, "job") == []


async def test_of_many_resources_only_those_of_the_same_job_are_looked_at_for_a_deletion() -> None:
    inventory = Inventory()
    for number in range(1_000):
        inventory.observe(_seen(f"r-{number}", job=f"job-{number // 2}"))
    inventory.take_marked(10_000)
    inventory.forget("r-10")
    assert _marked(inventory) == {"r-11"}
    inventory.forget("r-11")
    assert _marked(inventory) == set()


async def test_a_resource_remembers_no_more_than_is_read_of_it() -> None:
    metadata = {
        "namespace": "ns",
        "name": "a",
        "uid": "a",
        "creationTimestamp": "2026-01-08T10:00:00Z",
        "managedFields": [{"manager": "kubectl"}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    }
    seen = seen_from({"metadata": metadata, "spec": {"jobId": "job"}, "status": {}}, kind=SCHEDULE)
    assert (seen.spec, seen.status) == ({"jobId": "job"}, {})
    assert seen.created_at == "2026-01-08T10:00:00Z"
