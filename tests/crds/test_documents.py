"""Texts are read as kubectl reads them, type by type, and within bounds.

`kubectl_reads/table.jsonl` is what kubectl's own decoder made of each text; the Go program beside it renews
the table.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from piko_operator.documents import MOST_DEPTH, MOST_VALUES, DocumentError, read_documents

_TABLE = [
    json.loads(line)
    for line in (Path(__file__).parent / "kubectl_reads" / "table.jsonl").read_text("utf-8").split("\n")
    if line
]
_STRICTER = {
    "{a: 1, a: 2}\n": "key 'a' is given twice, first in line 1",
    '{"a": 1, "a": 2}': "key 'a' is given twice",
    "a: 1e999\n": "'1e999' is larger than any number that the API server",
    "1e999: x\n": "'1e999' is larger than any number that the API server",
    "1e21: 1\n": "the key is a number beyond 64 bits; quote it",
    "a: 1\n...\nb: 2\n": "not YAML",
    '{"a": 1}{"b": }': "not JSON",
    "[a:]\n": "not YAML",
    "[]]\n": "not YAML",
}
"""What kubectl reads, if only in part, and Piko refuses."""
_LAXER = ('a: "\\x41\\u00e9\\U0001F600\\n\\t\\/\\e"\n',)
"""An escape of YAML 1.2 that kubectl does not know."""


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return (
            float(value["$float"])
            if "$float" in value
            else {key: _plain(item) for key, item in value.items()}
        )
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _typed(value: Any) -> Any:
    """`value` so that 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    return [_typed(item) for item in value] if isinstance(value, list) else (type(value), value)


@pytest.mark.parametrize("row", _TABLE, ids=[ascii(row["text"])[:60] for row in _TABLE])
def test_a_text_is_read_as_kubectl_reads_it(row: dict[str, Any]) -> None:
    text = row["text"]
    found = list(read_documents(text))
    errors = [str(item) for item in found if isinstance(item, DocumentError)]
    if text in _STRICTER:
        assert "documents" in row
        assert any(_STRICTER[text] in error for error in errors)
    elif "error" in row and text not in _LAXER:
        assert errors
    elif text not in _LAXER:
        assert errors == []
        values = [item.value for item in found if not isinstance(item, DocumentError)]
        assert _typed(values) == _typed(_plain(row["documents"]))


_REFUSED = {
    "a key that is a list": ("x: 1\n{? [a]: 1}\n", None, "not YAML"),
    "a key that is a list, in braces": ("{? [a]: 1}", 1, "a list or an object is used as a key"),
    "a template that was not rendered": (
        "a: 1\nconfig: {name: {{ .Values.x }}}\n",
        2,
        "a template that was not rendered?",
    ),
    "not a number": ("a: 1\nb:\n- .nan\n", 3, "'.nan' is not a finite number"),
    "half of a surrogate pair": ('a: 1\nb: "\\ud800"\n', 2, "not YAML: found invalid Unicode character"),
    "half of a surrogate pair in JSON": ('\n{"a": "\\ud800"}', 2, "\\ud800 is half of a character"),
    "an integer of 5,000 digits": (f"a: 1\nb: {'7' * 5000}\n", 2, "a number of 5000 characters"),
    "an integer of 5,000 digits in JSON": (f'{{"a": {"7" * 5000}}}', 1, "a number of 5000 characters"),
    "a deep list": (f"a: 1\nb: {'[' * 5000}\n", 2, f"more than {MOST_DEPTH} levels deep"),
    "a deep list of JSON": (f'{{"a": {"[" * 5000}{"]" * 5000}}}', 1, f"more than {MOST_DEPTH} levels deep"),
    "a deep list of dashes": (f"a:\n {'- ' * 400}x\n", 2, f"more than {MOST_DEPTH} levels deep"),
    "depth by aliases": (
        "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 100))]),
        64,
        f"more than {MOST_DEPTH} levels deep",
    ),
    "growth by aliases": (
        "\n".join(
            [
                "a0: &a0 [x,x,x,x,x,x,x,x,x,x]",
                *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)),
            ]
        ),
        6,
        f"more than {MOST_VALUES} values, aliases expanded",
    ),
    "growth by merges": (
        "\n".join(
            [
                f"a0: &a0 {{{','.join(f'k{n}: 1' for n in range(1000))}}}",
                *(f"a{n}: &a{n} {{<<: [{','.join(['*a0'] * 50)}]}}" for n in range(1, 9)),
            ]
        ),
        5,
        f"more than {MOST_VALUES} values, aliases expanded",
    ),
    "an alias of what it stands in": ("a: 1\nb: &b [*b]\n", 2, "the alias *b contains itself"),
    "an alias of nothing": ("a: 1\nb: *b\n", 2, "the alias *b names no anchor before it"),
    "an empty key": ("a: 1\n~: 2\n", 2, "the key is empty (null); quote it"),
    "a tag that the value denies": (
        "a: 1\nb: !!int x\n",
        2,
        "'x' is not of the type int that its tag states",
    ),
    "a control character": ("a: 1\nb: x\x07\n", 2, "not YAML: control characters are not allowed"),
    "a tab before a key": ("a:\n\tb: 1\n", 2, "not YAML: found character that cannot start any token"),
    "an end that does not come": ("x: 1\na: [1,\nb: 2\n", None, "which begins in line 2"),
}


@pytest.mark.parametrize("case", _REFUSED)
def test_what_cannot_be_used_is_refused_with_its_line(case: str) -> None:
    text, line, said = _REFUSED[case]
    errors = [item for item in read_documents(text) if isinstance(item, DocumentError)]
    assert [said in str(error) for error in errors] == [True]
    assert line in (None, errors[0].line)


def test_a_bad_document_costs_the_others_nothing() -> None:
    found = list(read_documents("a: 1\n---\nb: [\n---\n# none\n---\nc: 3\n---\nd: *x\n"))
    assert [
        (item.line, str(item)[:9]) if isinstance(item, DocumentError) else item.value for item in found
    ] == [{"a": 1}, (3, "not YAML:"), {"c": 3}, (9, "the alias")]


def test_fields_know_their_lines_through_aliases_and_merges() -> None:
    (found,) = read_documents("a: &a\n  b: 1\nc:\n- *a\n- <<: *a\n  d:\n    e: 2\n")
    assert not isinstance(found, DocumentError)
    paths = [("a",), ("a", "b"), ("c", 0), ("c", 1, "b"), ("c", 1, "d", "e"), ("c", 1, "d", "f"), ("x",)]
    assert [found.line_of(path) for path in paths] == [1, 2, 4, 2, 7, 6, 1]


def test_documents_that_are_too_large_end_the_reading_after_a_few() -> None:
    large = f"a: &a [{'x,' * 2000}]\nb: [{'*a,' * 200}]\n---\n"
    found = list(read_documents("ok: 1\n---\n" + large * 30 + "ok: 2\n"))
    errors = [str(item) for item in found if isinstance(item, DocumentError)]
    assert len(found) == 1 + len(errors)
    assert len(errors) == 6
    assert errors[-1] == "too many documents are too large; the rest is not read"
    (_, error, last) = read_documents("ok: 1\n---\n" + large + "ok: 2\n")
    assert isinstance(error, DocumentError)
    assert not isinstance(last, DocumentError), "a large one costs the next one nothing"


def test_a_stream_of_json_objects_has_the_line_of_each() -> None:
    found = list(read_documents('{"a": 1}{"b":\n2}\n\n{"c": 3}{"d": "\\ud800"}'))
    assert [item.line for item in found] == [1, 1, 4, 4]
    assert isinstance(found[-1], DocumentError)
