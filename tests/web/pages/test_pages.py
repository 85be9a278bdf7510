"""Each page, as a browser without scripts gets it, on each kind of database."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.harness.databases import TestDatabase
from tests.harness.statements import sent_to
from tests.web.pages.night import HOSTILE, SECRET, write_night

PAGES = {
    "/": ["warehouse-0", "epoch 17", "26 runs in a row failed", "KeyError: &#39;customer_id&#39;", "prod"],
    "/jobs": ["failing", "data/orders", "0 * * * *", "6 jobs"],
    "/jobs?failing=true&state=&text=": ["1 job match", "failing"],
    "/jobs/failing": ["At minute 0 of every hour, UTC.", "26h behind", "jobs:failing", "Revision 1"],
    "/jobs/invalid": ["hour = 25"],
    "/jobs/a.b:c-d": ["It has not run yet", "Unseen"],
    "/runs": ["Running", "well-00", "so far"],
    "/runs?job=failing&state=FAILED": ["failed-25"],
    "/runs/failed-03": ["Traceback (most recent call last)", "schedule", "30.0 s"],
    "/backfills": ["12 of 24, 1 failed"],
    "/backfills/backfill-1": ["12 windows wait to be claimed", "Failed, 30.0 s"],
    "/replicas": ["Leader", "Alive", "0.1.0"],
    "/sinks": ["warehouse", "1,234", "ConnectionError: away", "Takes all"],
    "/dead-letters": ["IntegrityError: total may not be NULL", "Replica ended", "customer 2"],
    "/jobs/failing/why": ["KeyError", "piko why failing"],
}
_BROWSER = {"Accept": "text/html,*/*;q=0.8"}


@pytest.fixture
async def night(emptied_database: TestDatabase) -> TestDatabase:
    await write_night(emptied_database.dsn)
    await emptied_database.execute("INSERT INTO operator_cluster (cluster, uid) VALUES ('prod', 'uid')")
    return emptied_database


async def test_each_page_says_what_it_has_to_with_at_most_five_statements(
    web: httpx.AsyncClient, night: TestDatabase
) -> None:
    await web.get("/", headers=_BROWSER)
    for path, texts in PAGES.items():
        with sent_to(night) as asked:
            answer = await web.get(path, headers=_BROWSER)
        assert answer.status_code == 200, (path, answer.text)
        missing = [text for text in texts if text not in _read(answer.text)]
        assert not missing, (path, missing)
        assert len(asked) <= 5, (path, asked)


@pytest.mark.usefixtures("night")
async def test_no_page_holds_a_secret_or_a_text_as_markup(web: httpx.AsyncClient) -> None:
    for path in PAGES:
        answer = await web.get(path, headers=_BROWSER)
        assert SECRET not in answer.text, path
        assert HOSTILE not in answer.text, path
        assert "style=" not in answer.text, path
        assert not re.search(r"<script(?![^>]* src=)", answer.text), path
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'"), path


@pytest.mark.usefixtures("night")
async def test_every_link_of_every_page_leads_to_a_page(web: httpx.AsyncClient) -> None:
    followed: set[str] = set()
    for path in PAGES:
        answer = await web.get(path, headers=_BROWSER)
        links = set(re.findall(r'(?:href|src)="([^"#]+)"', answer.text))
        assert not [link for link in links if not link.startswith("./")], path
        for link in sorted(links):
            url = str(answer.url.join(link.replace("&amp;", "&")))
            if url not in followed and len(followed) < 90:
                followed.add(url)
                assert (await web.get(url, headers=_BROWSER)).status_code == 200, (path, link)


async def test_nothing_wrong_says_so_with_what_is_next(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    empty = (await web.get("/", headers=_BROWSER)).text
    assert "There are no jobs yet" in empty
    assert "No replica has led" in empty
    await write_night(emptied_database.dsn)
    await emptied_database.execute("DELETE FROM job_state WHERE job_id <> 'well'")
    calm = (await web.get("/", headers=_BROWSER)).text
    assert "Nothing needs attention" in calm
    assert re.search(r"well</a>\s*<time[^>]*>in (?:23|24)h", calm)


async def test_a_list_is_walked_page_by_page_by_its_links(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await write_night(emptied_database.dsn, many=120)
    url, seen = "http://piko.test/jobs?text=tenant", []
    while url:
        answer = await web.get(url, headers=_BROWSER)
        seen += re.findall(r'<th scope="row"><a[^>]*>(tenant-\d+)', answer.text)
        found = re.search(r'rel="next" href="([^"]+)"', answer.text)
        url = str(answer.url.join(found[1].replace("&amp;", "&"))) if found else ""
    assert seen == [f"tenant-{number:04}" for number in range(120)]


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/jobs/nobody", 404, "no job"),
        ("/runs/nobody", 404, "no run"),
        ("/backfills/nobody", 404, "no backfill"),
        ("/nowhere", 404, "no such path"),
        ("/jobs?cursor=torn", 400, "leave `cursor` out"),
        ("/jobs?sort=colour", 422, "sort"),
        ("/jobs?latee=true", 422, "late"),
        ("/static/none.css", 404, "no file"),
    ],
)
async def test_an_error_is_a_page_for_a_browser_and_a_problem_for_a_program(
    web: httpx.AsyncClient, path: str, status: int, says: str
) -> None:
    page = await web.get(path, headers=_BROWSER)
    assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert says in _read(page.text)
    program = await web.get(path)
    assert program.status_code == status
    assert program.headers["content-type"] == "application/problem+json"
    assert says in program.json()["detail"]


def _read(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"</?(?:strong|small|span|code|br|a)\b[^>]*>", "", html))
