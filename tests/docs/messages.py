"""The messages in the code that a person meets: lines of a log, reasons of conditions, errors."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

import piko
import piko_operator
from piko.core.types import JobStatus

GAP = "…"
"""Stands in a text for what is known only when it is said."""

_Node = TypeVar("_Node", bound=ast.AST)

_LEVELS = frozenset({"warning", "error", "exception", "critical"})
_LINE = re.compile(r"[a-z]+(_[a-z]+)*")
_REASON = re.compile(r"[A-Z][A-Za-z]+")
_REASON_AT = {"synced": 1, "fail": 1, "unknown": 1, "_put_off": 0}
"""Functions that are given the reason of a condition, and the place of that argument."""


@cache
def modules() -> tuple[ast.Module, ...]:
    """The source of the runtime and of the operator, but for what old migrations say."""
    folders = [Path(str(package.__file__)).parent for package in (piko, piko_operator)]
    files = sorted(
        path for folder in folders for path in folder.rglob("*.py") if "versions" not in path.parts
    )
    return tuple(ast.parse(path.read_text(encoding="utf-8")) for path in files)


def log_lines() -> set[str]:
    """The name of each line at warning or error."""
    left = [
        node.value
        for node in _nodes(ast.AnnAssign)
        if isinstance(node.target, ast.Name) and node.target.id == "otherwise" and node.value is not None
    ]
    items = [*left, *(item for call in _calls() for item in _names_of_lines(call))]
    return {name for item in items for name in _words(item, _LINE)}


def reasons() -> set[str]:
    """The reason of each condition and of each Event of a resource."""
    named = {word for call in _calls() for item in _reasons_of(call) for word in _words(item, _REASON)}
    tables = {
        word
        for node in _nodes(ast.Assign)
        if any(isinstance(target, ast.Name) and target.id == "_REASONS" for target in node.targets)
        for word in _words(node.value, _REASON)
    }
    return named | tables | set(JobStatus)


def troubles() -> set[str]:
    """The kinds of trouble that `piko status` names, but for those that a variable holds."""
    named = [item.value for call in _calls() if _name(call.func) == "Trouble" for item in call.keywords
             if item.arg == "kind"]  # fmt: skip
    named += [call.args[1] for call in _calls() if _name(call.func) == "_job_trouble"]
    return {word for item in named for word in _words(item, _LINE)}


@cache
def texts() -> str:
    """Every text of the code in one, a line each, with a gap for what is known only when it is said."""
    return "\n".join(
        text
        for node in (*_nodes(ast.JoinedStr), *_nodes(ast.Constant))
        if (text := template(node)) is not None
    )


def errors() -> set[str]:
    """The text of each error that is raised on purpose, with gaps; not of those that only pass on another."""
    kinds = _errors_of_piko()
    return {
        text
        for call in _calls()
        if _name(call.func) in kinds
        for text in filter(None, map(template, call.args[:2]))
        if re.search("[A-Za-z]{4}", text)
    }


def template(node: ast.AST) -> str | None:
    """The text that an expression makes, with gaps; None: it makes none that is known."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(template(part) or GAP for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return f"{template(left) or GAP}{template(right) or GAP}"
    return None


def _names_of_lines(call: ast.Call) -> Iterator[ast.expr]:
    """Where a call that logs, or that leaves a line to be logged, names it."""
    match call:
        case ast.Call(func=ast.Attribute(attr=level), args=[first, *_]) if level in _LEVELS:
            yield first
        case ast.Call(func=ast.Attribute(attr="log"), args=[level, event, *_]) if _is_bad(level):
            yield event
        case ast.Call(func=ast.Name(id="_step"), args=[_, _, _, event]):
            yield event
    yield from (item.value for item in call.keywords if item.arg == "event")


def _is_bad(level: ast.expr) -> bool:
    """Whether it is, or may be, `Level.WARNING` or `Level.ERROR`."""
    return any(
        isinstance(node, ast.Attribute) and node.attr in ("WARNING", "ERROR") for node in ast.walk(level)
    )


def _reasons_of(call: ast.Call) -> Iterator[ast.expr]:
    place = _REASON_AT.get(_name(call.func) or "")
    if place is not None and len(call.args) > place:
        yield call.args[place]
    yield from (item.value for item in call.keywords if item.arg == "reason")


def _errors_of_piko() -> set[str]:
    """The names of Piko's errors, and of those with which its command line refuses."""
    known = {"PikoError", "BadParameter", "ProblemError"}
    classes = list(_nodes(ast.ClassDef))
    while found := {
        each.name
        for each in classes
        if each.name not in known and known & {_name(base) for base in each.bases}
    }:
        known |= found
    return known


def _words(node: ast.expr, form: re.Pattern[str]) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and form.fullmatch(each.value):
            yield each.value


def _name(node: ast.expr) -> str | None:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return None


def _calls() -> Iterator[ast.Call]:
    return _nodes(ast.Call)


def _nodes(kind: type[_Node]) -> Iterator[_Node]:
    return (node for module in modules() for node in ast.walk(module) if isinstance(node, kind))
