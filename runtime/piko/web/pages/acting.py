"""How an act is done on a page: a form, what the act would do, and only then the act.

It takes no script. A GET shows the form. A POST whose `step` is `check` makes a dry run and shows its result
with a button that says `do`; that button sends the same values again. A row is changed only if it is as the
dry run has seen it. Who may not act sees the command that does the same, and why there is no form.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from fastapi import Request
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from piko.errors import NotFoundError, RefusedError
from piko.json_object import read_object
from piko.model.changes import Actor
from piko.model.digests import Digest
from piko.web.access.roles import Caller
from piko.web.asked import Act
from piko.web.pages.forms import fields_of
from piko.web.problems import status_of
from piko.web.rendering import render
from piko.web.request import seen_of
from piko.web.views import links
from piko.web.views.acts import NOTICE, ActForm, Effect, FieldKind, FormField

A = TypeVar("A", bound=Act)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """How an act is to be done: by whom, for real or as a dry run, on the row as it was seen."""

    actor: Actor
    dry_run: bool
    seen: Digest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAct(Generic[A]):
    """A form, what its values are read as, and what is done with them. `tag` names the state of the row."""

    form: ActForm
    takes: type[A]
    perform: Callable[[A, Doing], Awaitable[Effect]]
    tag: str = ""


async def answer(request: Request, act: PageAct[A]) -> Response:
    """The page of `act`: its form, its dry run, or what it leads to."""
    if request.method != "POST":
        return _page(request, act.form, HTTPStatus.OK)
    said = await fields_of(request)
    form = _filled(act.form, said)
    values, problems = _values(form)
    try:
        asked = None if problems else act.takes.model_validate(values)
    except ValidationError as error:
        problems = {str(item["loc"][0]): item["msg"].removeprefix("Value error, ") for item in error.errors()}
        asked = None
    if asked is None:
        status = HTTPStatus.UNPROCESSABLE_ENTITY if said.get("step") == "do" else HTTPStatus.OK
        return _page(request, _with_problems(form, problems), status)
    return await _done(request, act, form, asked, said)


async def _done(
    request: Request, act: PageAct[A], form: ActForm, asked: A, said: Mapping[str, str]
) -> Response:
    dry_run = said.get("step") != "do"
    caller: Caller = request.scope["caller"]
    actor = Actor(who=caller.who, via="page", reason=asked.reason, traceparent=caller.traceparent)
    doing = Doing(actor=actor, dry_run=dry_run, seen=None if dry_run else seen_of(said.get("seen")))
    try:
        effect = await act.perform(asked, doing)
    except NotFoundError:
        raise
    except RefusedError as error:
        status = HTTPStatus.OK if dry_run else status_of(error)  # a refusal is what a dry run has found
        return _page(request, form, status, refusal=str(error))
    if dry_run or effect.results:
        shown = {"effect": effect, "checked": dry_run, "tag": act.tag}
        return _page(request, form, HTTPStatus.OK, **shown)
    root = links.root_of(request.scope["path"].removeprefix(request.scope.get("root_path", "")))
    place = links.with_query(f"{root}{effect.leads_to}", [(NOTICE, effect.done)])
    return RedirectResponse(place, status_code=HTTPStatus.SEE_OTHER)


def _page(request: Request, form: ActForm, status: HTTPStatus, **values: object) -> Response:
    shown: dict[str, object] = {"effect": None, "checked": False, "refusal": "", "tag": "", **values}
    return render(
        request,
        "act.html",
        status=status,
        form=form,
        **shown,
    )


def _filled(form: ActForm, said: Mapping[str, str]) -> ActForm:
    return replace(
        form, fields=tuple(replace(item, value=said.get(item.name, "").strip()) for item in form.fields)
    )


def _with_problems(form: ActForm, problems: Mapping[str, str]) -> ActForm:
    return replace(
        form, fields=tuple(replace(item, problem=problems.get(item.name, "")) for item in form.fields)
    )


def _values(form: ActForm) -> tuple[dict[str, Any], dict[str, str]]:
    """What the act's model is made of, and by field what cannot be read."""
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for item in form.fields:
        if not item.value:
            if item.required:
                problems[item.name] = "Say this, please: the act needs it."
            elif item.kind is FieldKind.INSTANT:
                values[item.name] = None
            continue
        try:
            values[item.name] = _value(item)
        except ValueError as error:
            problems[item.name] = f"This {error}."
    return values, problems


def _value(item: FormField) -> object:
    if item.kind is FieldKind.OBJECT:
        return read_object(item.value)
    if item.kind is FieldKind.INSTANT and item.value[-1].isdigit() and "+" not in item.value:
        return f"{item.value}Z"  # a browser's field for instants names no zone; its label says UTC
    return item.value
