"""Dead letters and sinks over the API: seen without payload, replayed and dropped by who may act."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.harness.databases import TestDatabase
from tests.web.rows import add_letters, add_replica

_SINKS = json.dumps(
    [
        {
            "sink": "warehouse",
            "durability": "spooled",
            "waiting": 7,
            "oldest_at": "2026-01-08T00:00:00+00:00",
            "error": "ConnectionError: away",
            "failing_since": "2026-01-08T00:01:00+00:00",
            "dead_letters": 3,
            "first_died_at": "2026-01-08T00:00:30+00:00",
        }
    ]
)


async def test_letters_are_listed_by_key_the_newest_first_and_by_filter(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    ids = await add_letters(emptied_database, 5)
    others = await add_letters(emptied_database, 2, sink="lake", job_id="b:c", run_id="r2", prefix="other")
    await add_replica(emptied_database, "one")
    first = (await web.get("/api/v1/dead-letters?sink=warehouse&limit=3")).json()
    assert [item["letter_id"] for item in first["items"]] == ids[:1:-1]
    second = (
        await web.get(
            "/api/v1/dead-letters", params={"sink": "warehouse", "limit": 3, "cursor": first["next"]}
        )
    ).json()
    assert [item["letter_id"] for item in second["items"]] == ids[1::-1]
    assert second["next"] is None
    for name, value in (("job", "b:c"), ("run", "r2"), ("sink", "lake")):
        found = (await web.get("/api/v1/dead-letters", params={name: value})).json()["items"]
        assert [item["letter_id"] for item in found] == others[::-1], name
    one = (await web.get(f"/api/v1/dead-letters/{ids[0]}")).json()
    assert one == {
        "letter_id": ids[0],
        "sink": "warehouse",
        "job_id": "load",
        "run_id": "run-000",
        "key": "key-0",
        "error": "ValueError: no 0",
        "died_at": "2026-01-08T00:00:00Z",
        "instance_id": "one",
        "host": "host-one",
        "holder": "alive",
        "asked": None,
        "asked_by": None,
        "asked_at": None,
        "answer": None,
        "note": None,
    }


async def test_a_letter_says_when_its_replica_is_silent_or_has_ended(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_letters(emptied_database, 1, instance_id="silent", prefix="a")
    await add_letters(emptied_database, 1, instance_id="unknown", prefix="b")
    await add_replica(emptied_database, "silent", ago_s=600)
    found = {item["instance_id"]: item for item in (await web.get("/api/v1/dead-letters")).json()["items"]}
    assert (found["silent"]["holder"], found["unknown"]["holder"]) == ("silent", "ended")
    assert found["silent"]["note"].startswith("its replica host-silent is silent: a process that starts")
    assert "if that volume was deleted, so was the record" in found["unknown"]["note"]


async def test_a_replay_is_asked_for_and_logged_with_who_and_why(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    (letter_id,) = await add_letters(emptied_database, 1)
    path, act = f"/api/v1/dead-letters/{letter_id}", {"reason": "the table is back"}
    checked = (await acting.post(f"{path}:replay", json={**act, "dry_run": True})).json()
    assert (checked["dry_run"], checked["letter"]["asked"]) == (True, None)
    assert (await acting.get(path)).json()["asked"] is None
    done = (await acting.post(f"{path}:replay", json=act)).json()
    assert (done["letter"]["asked"], done["letter"]["asked_by"]) == ("replay", "ann")
    assert done["shell"] == f"piko spool replay {letter_id} --reason 'the table is back'"
    assert (await acting.get("/api/v1/dead-letters?asked=true")).json()["items"] == [done["letter"]]
    (change,) = (await acting.get("/api/v1/changes?job=load")).json()["items"]
    assert (change["who"], change["via"], change["what"]) == ("ann", "api", "replay_dead_letter")
    assert change["reason"] == "the table is back"
    assert json.loads(change["before"])["letter_id"] == letter_id
    assert json.loads(change["after"]) == {"asked": "replay"}
    changed = (await acting.post(f"{path}:drop", json={})).json()["letter"]
    assert changed["asked"] == "drop", "what is asked last is what counts"


async def test_all_that_a_filter_leaves_are_asked_for_at_once(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    ids = await add_letters(emptied_database, 20)
    await add_letters(emptied_database, 3, sink="lake", prefix="other")
    path = "/api/v1/dead-letters:drop?sink=warehouse"
    for dry_run in (True, False):
        answer = (await acting.post(path, json={"dry_run": dry_run})).json()
        assert (answer["changed"], answer["refused"], answer["dry_run"]) == (20, 0, dry_run)
        assert {item["letter_id"] for item in answer["results"]} == set(ids)
        assert answer["shell"] == "piko spool drop --sink warehouse"
    asked = (await acting.get("/api/v1/dead-letters?asked=true&limit=500")).json()["items"]
    assert {item["letter_id"] for item in asked} == set(ids)
    everything = (await acting.post("/api/v1/dead-letters:replay", json={"dry_run": True})).json()
    assert (everything["changed"], everything["shell"]) == (23, "piko spool replay --all")


async def test_more_than_a_thousand_are_refused_as_a_whole(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    for number in range(3):
        await add_letters(emptied_database, 400, instance_id=f"i{number}", prefix=f"p{number}")
    refused = await acting.post("/api/v1/dead-letters:drop", json={})
    assert refused.status_code == 409
    assert "more than 1,000 dead letters; name fewer by `sink`, `job`, `run` or `replica`" in refused.text
    assert (await acting.get("/api/v1/dead-letters?asked=true")).json()["items"] == []
    assert (await acting.post("/api/v1/dead-letters:drop?replica=i1", json={})).json()["changed"] == 400


@pytest.mark.parametrize("path", [":replay", ":drop", "/letter-000:replay", "/letter-000:drop"])
async def test_who_may_only_read_asks_for_nothing(
    path: str, web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_letters(emptied_database, 1)
    assert (await web.post(f"/api/v1/dead-letters{path}", json={})).status_code == 403
    assert (await web.get("/api/v1/dead-letters/letter-000")).json()["asked"] is None


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("sinc=a", 422, "did you mean"),
        ("cursor=abc", 400, "it is not one that Piko made"),
        ("asked=perhaps", 422, "asked"),
        ("limit=0", 422, "limit"),
    ],
)
async def test_a_query_that_cannot_be_read_says_what_is_right(
    query: str, status: int, said: str, web: httpx.AsyncClient
) -> None:
    answer = await web.get(f"/api/v1/dead-letters?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert said in answer.text


async def test_a_cursor_of_other_filters_and_a_letter_that_is_not_listed_are_refused(
    acting: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_letters(emptied_database, 2)
    cursor = (await acting.get("/api/v1/dead-letters?limit=1")).json()["next"]
    other = await acting.get("/api/v1/dead-letters", params={"sink": "lake", "cursor": cursor})
    assert (other.status_code, "it belongs to other filters" in other.text) == (400, True)
    for answer in (
        await acting.get("/api/v1/dead-letters/none"),
        await acting.post("/api/v1/dead-letters/none:replay", json={}),
    ):
        assert answer.status_code == 404
        assert "it was replayed or dropped, or never there" in answer.json()["detail"]


async def test_a_sink_is_summed_over_its_replicas_and_what_ended_ones_have_left(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_replica(emptied_database, "one", sinks=_SINKS)
    await add_replica(emptied_database, "two", sinks=_SINKS, ago_s=600)
    await add_letters(emptied_database, 3, instance_id="one")
    await add_replica(emptied_database, "ended", sinks=_SINKS)
    await emptied_database.execute(
        "UPDATE runtime_instance SET stopped_at = heartbeat_at WHERE instance_id = 'ended'"
    )
    await add_letters(emptied_database, 2, instance_id="ended", prefix="left")
    (sink,) = (await web.get("/api/v1/sinks")).json()
    assert (sink["sink"], sink["waiting"], sink["dead_letters"]) == ("warehouse", 14, 8)
    assert (sink["error"], sink["failing_since"]) == ("ConnectionError: away", "2026-01-08T00:01:00Z")
    assert (sink["oldest_at"], sink["first_died_at"]) == ("2026-01-08T00:00:00Z", "2026-01-08T00:00:00Z")
    shares = {item["instance_id"]: item for item in sink["replicas"]}
    assert {name: item["holder"] for name, item in shares.items()} == {
        "one": "alive",
        "two": "silent",
        "ended": "ended",
    }
    assert shares["ended"]["state"]["dead_letters"] == 2
    (replica, *_) = (await web.get("/api/v1/replicas")).json()
    assert replica["sinks"][0]["waiting"] == 7
