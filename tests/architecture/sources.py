"""Rules that an import graph cannot state: each reads one module's syntax tree and returns what breaks it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

Rule = Callable[[ast.Module], Iterator[ast.AST]]

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "runtime" / "piko", ROOT / "operator" / "piko_operator")

_CLOCK_READS = {
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"},
}
_STATEMENT = re.compile(
    r"\s*(SELECT\s.+\sFROM\s|INSERT\s+(IGNORE\s+)?INTO\s|REPLACE\s+INTO\s|UPDATE\s+\S+\s+SET\s|DELETE\s+FROM\s"
    r"|(CREATE|ALTER|DROP)\s+(TABLE|INDEX|DATABASE|TRIGGER)\s)",
    re.IGNORECASE | re.DOTALL,
)
_MUTATORS = {
    *("add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "popleft"),
    *("remove", "reverse", "setdefault", "sort", "update"),
}
_CONTAINERS = {"list", "dict", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict"}
_LIVE_OBJECTS = {
    *("asyncio.Lock", "asyncio.Event", "asyncio.Condition", "asyncio.Queue", "asyncio.Semaphore"),
    *("threading.Lock", "threading.RLock", "threading.Event", "threading.Condition", "threading.local"),
    *("Lock", "RLock", "Semaphore", "BoundedSemaphore", "PriorityQueue"),
    *(
        "CollectorRegistry",
        "Gauge",
        "Histogram",
        "Summary",
        "FastAPI",
        "create_engine",
        "create_async_engine",
    ),
    *("ThreadPoolExecutor", "ProcessPoolExecutor", "PikoApp", "Settings", "SystemClock", "load_settings"),
}


def modules() -> list[Path]:
    """Every source file of the two packages."""
    return sorted(path for package in PACKAGES for path in package.rglob("*.py"))


@cache
def trees() -> Mapping[Path, ast.Module]:
    """What is written in each of them; read once for all rules."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in modules()}


def reads_of_a_clock(tree: ast.Module) -> Iterator[ast.AST]:
    """`datetime.now()`, `time.time()` and their kin, called, passed on, or imported by name."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr=name):
                if name in _CLOCK_READS.get(owner, ()):
                    yield node
            case ast.ImportFrom(module="time", names=names):
                if any(alias.name in _CLOCK_READS["time"] for alias in names):
                    yield node


def sql_statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Text that is an SQL statement; documentation is none."""
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) not in documentation and _STATEMENT.match(_text_of(node)):
            yield node


def mutable_singletons(tree: ast.Module) -> Iterator[ast.AST]:
    """State that lives in a module.

    That is: `global`, a container made empty to be filled later, an object with a life of its own such as a
    lock, a metric or an engine, and any change that a function makes to a name of its module.
    """
    names: set[str] = set()
    for name, value in _module_level_values(tree):
        names.add(name)
        if _is_empty_container(value) or _called_names(value) & _LIVE_OBJECTS:
            yield value
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield node
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _changes_of(names, node)


def class_names(tree: ast.Module) -> Iterator[str]:
    """The name of each class, those within others and within functions among them."""
    yield from (node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def module_level_imports(tree: ast.Module) -> Iterator[str]:
    """The top-level names of the packages that importing this module imports."""
    for node in _executed_on_import(tree.body):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]


def imported_modules(tree: ast.Module) -> Iterator[str]:
    """The whole names of the modules that are imported, wherever the import stands."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module


def _executed_on_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        match node:
            case ast.If(
                test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"), orelse=orelse
            ):
                yield from _executed_on_import(orelse)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                continue
            case ast.If() | ast.Try() | ast.With() | ast.ClassDef():
                for part in ("body", "orelse", "finalbody"):
                    yield from _executed_on_import(getattr(node, part, []))
                for handler in getattr(node, "handlers", []):
                    yield from _executed_on_import(handler.body)
            case _:
                yield node


def _module_level_values(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        match node:
            case ast.Assign(targets=targets, value=value):
                yield from ((target.id, value) for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value


def _is_empty_container(value: ast.expr) -> bool:
    match value:
        case ast.List(elts=[]) | ast.Dict(keys=[]):
            return True
        case ast.Call(args=args, keywords=[]) if called := _called_names(value) & _CONTAINERS:
            # What a defaultdict is called with is its factory, not its content.
            return not args or "defaultdict" in called
        case _:
            return False


def _text_of(node: ast.AST) -> str:
    """A string as far as it is known before it runs; what an f-string puts in is some one word."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text_of(part) or "word" for part in parts)
        case _:
            return ""


def _called_names(value: ast.expr) -> set[str]:
    """What a call calls, by its last name and with its owner's name before it."""
    match value:
        case ast.Call(func=ast.Name(id=name)):
            return {name}
        case ast.Call(func=ast.Attribute(attr=name, value=ast.Name(id=owner))):
            return {name, f"{owner}.{name}"}
        case _:
            return set()


def _changes_of(names: set[str], function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    shared = names - _local_names(function)
    for node in ast.walk(function):
        match node:
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()) if name in shared:
                yield node
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if name in shared:
                if method in _MUTATORS:
                    yield node


def _local_names(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    arguments = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
    stored = {
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return arguments | stored
