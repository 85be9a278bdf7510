"""Parses YAML event by event."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from piko_operator.documents.nodes import MOST_DEPTH, Budget, DocumentError, Node, too_deep
from piko_operator.documents.scalars import key, key_text, scalar

_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml; kubectl's parser is a port of it
_CUT = re.compile(r"^---", re.MULTILINE)
_MOST_TOO_LARGE = 5
"""Documents over the limit; each may cost as much as a whole text."""
_MERGE = "tag:yaml.org,2002:merge"


def yaml_documents(text: str) -> Iterator[Node | DocumentError]:
    """Each non-empty document of `text`, or its error."""
    budget, too_large = Budget(), 0
    for line, piece in _pieces(text):
        left = budget.left
        try:
            node = _Composer(budget=budget, before=line - 1).compose(piece)
        except DocumentError as error:
            yield error
            too_large += budget.left < 0
            if too_large == _MOST_TOO_LARGE:
                yield DocumentError("too many documents are too large; the rest is not read", line=line)
                return
            budget.left = left  # the document is discarded
        else:
            if node is not None and node.value is not None:
                yield node


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """The text between lines that begin with `---`, each with the number of its first line."""
    line, begin = 1, 0
    for cut in [*(found.start() for found in _CUT.finditer(text)), len(text)]:
        if text[begin:cut].strip():
            yield line, text[begin:cut].removesuffix("\n") + "\n"  # like kubectl, end the last line too
        line += text.count("\n", begin, cut)
        begin = cut


@dataclass(slots=True, kw_only=True)
class _Open:
    """A list or object that is still open; `key` waits for its value."""

    node: Node
    line: int
    anchor: str | None
    key: str | None = None
    key_line: int = 0
    merging: bool = False
    own: dict[str, int] = field(default_factory=dict)


class _Composer:
    """Builds the node of one piece from its events."""

    def __init__(self, *, budget: Budget, before: int) -> None:
        self._budget = budget
        self._before = before
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}
        self._root: Node | None = None

    def compose(self, piece: str) -> Node | None:
        """The node of `piece`. Raises `DocumentError`."""
        documents = 0
        try:
            for event in yaml.parse(piece, Loader=_PARSER):
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    _check_start(documents, self._line(event), piece)
                elif isinstance(event, yaml.NodeEvent):
                    self._begin(event, self._line(event))
                elif isinstance(event, yaml.CollectionEndEvent):
                    self._end()
        except yaml.YAMLError as error:
            raise self._not_yaml(error, piece) from None
        return self._root

    def _begin(self, event: Any, line: int) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._add(self._anchored(str(event.anchor), line), line, mergeable=False)
        elif isinstance(event, yaml.ScalarEvent):
            self._budget.spend(1, line)
            node = Node(value=_value(event, line, key if self._awaits_key else scalar), line=line)
            if event.anchor is not None:
                self._anchors[event.anchor] = node
            self._add(node, line, merge_key=_is_merge(event))
        else:
            self._open(event, line)

    def _open(self, event: Any, line: int) -> None:
        self._budget.spend(1, line)
        if len(self._stack) >= MOST_DEPTH:
            raise too_deep(line)
        self._check_key(line)
        node = Node(value={} if isinstance(event, yaml.MappingStartEvent) else [], line=line)
        if event.anchor is not None:
            self._anchors[event.anchor] = None  # until its end, an alias would contain itself
        self._stack.append(_Open(node=node, line=line, anchor=event.anchor))

    def _end(self) -> None:
        done = self._stack.pop()
        if done.anchor is not None:
            self._anchors[done.anchor] = done.node
        self._add(done.node, done.line)

    def _anchored(self, anchor: str, line: int) -> Node:
        node = self._anchors.get(anchor)
        if node is None:
            why = "contains itself" if anchor in self._anchors else "names no anchor before it"
            raise DocumentError(f"the alias *{anchor} {why}", line=line)
        self._budget.spend(node.size, line)
        if len(self._stack) + node.depth > MOST_DEPTH:
            raise too_deep(line)
        return node

    def _add(self, node: Node, line: int, *, merge_key: bool = False, mergeable: bool = True) -> None:
        if not self._stack:
            self._root = node
            return
        top = self._stack[-1]
        if isinstance(top.node.value, list):
            top.node.put(len(top.node.value), line, node)
        elif top.key is None and not top.merging:
            self._read_key(top, node, line, merge_key=merge_key)
        elif top.merging:
            top.merging = False
            self._merge(top.node, node, line, mergeable=mergeable)
        else:
            top.node.put(top.key, top.key_line, node)
            top.key = None

    @property
    def _awaits_key(self) -> bool:
        top = self._stack[-1] if self._stack else None
        return top is not None and isinstance(top.node.value, dict) and top.key is None and not top.merging

    def _check_key(self, line: int) -> None:
        if self._awaits_key:
            raise DocumentError(
                "a list or an object is used as a key; a key is a text (in braces: a template that was not "
                "rendered?)",
                line=line,
            )

    def _read_key(self, top: _Open, node: Node, line: int, *, merge_key: bool) -> None:
        if merge_key:
            top.merging = True
            return
        if node.parts or isinstance(node.value, dict | list):
            self._check_key(line)
        try:
            name = key_text(node.value)
        except ValueError as error:
            raise DocumentError(str(error), line=line) from None
        if name in top.own:
            raise DocumentError(
                f"key {name!r} is given twice, first in line {top.own[name]}; remove one of the two",
                line=line,
            )
        top.own[name] = line
        top.key, top.key_line = name, line

    def _merge(self, into: Node, node: Node, line: int, *, mergeable: bool) -> None:
        """Merge `<<`: its values replace those written before it, as in kubectl."""
        many = isinstance(node.value, list) and mergeable
        sources = [part for _, part in node.parts.values()][::-1] if many else [node]
        for source in sources:
            if not isinstance(source.value, dict):
                raise DocumentError("<< takes an object, or a list of objects", line=line)
            for name, (place, part) in source.parts.items():
                into.put(name, place, part)

    def _line(self, event: Any) -> int:
        return self._before + int(event.start_mark.line) + 1

    def _not_yaml(self, error: yaml.YAMLError, piece: str) -> DocumentError:
        if not isinstance(error, yaml.MarkedYAMLError):
            return DocumentError(f"not YAML: {_reason(error)}", line=self._before + _bad_line(error, piece))
        last = piece.rstrip("\n").count("\n")  # the end of the text is not a line
        mark, context = error.problem_mark, error.context_mark
        line = min(mark.line if mark else 0, last)
        what = [str(error.problem), *([error.context] if error.context else [])]
        if context is not None and context.line < line:
            what.append(f"which begins in line {self._before + context.line + 1}")
        return DocumentError(f"not YAML: {', '.join(what)}", line=self._before + line + 1)


def _reason(error: yaml.YAMLError) -> str:
    return str(getattr(error, "reason", error))


def _bad_line(error: yaml.YAMLError, piece: str) -> int:
    """The line of a character that YAML does not allow; libyaml counts bytes."""
    position = int(getattr(error, "position", 0))
    before = piece[:position].encode() if _PARSER is yaml.SafeLoader else piece.encode()[:position]
    return before.count(b"\n") + 1


def _check_start(documents: int, line: int, piece: str) -> None:
    if documents > 1:
        raise DocumentError("kubectl ignores everything after `...`; begin a document with ---", line=line)
    after = piece.partition("\n")[0][3:].strip() if piece.startswith("---") else ""
    if after and not after.startswith("#"):
        raise DocumentError(
            f"found {after[:40]!r} after ---, where kubectl allows nothing; put it on the next line",
            line=line,
        )


def _is_merge(event: yaml.ScalarEvent) -> bool:
    return event.value == "<<" and (bool(event.implicit[0]) or event.tag == _MERGE)


def _value(event: yaml.ScalarEvent, line: int, read: Callable[..., Any]) -> Any:
    try:
        return read(event.value, tag=event.tag, plain=bool(event.implicit[0]))
    except ValueError as error:
        raise DocumentError(str(error), line=line) from None
