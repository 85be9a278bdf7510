"""The Secrets and ConfigMaps that `configFrom` names, and which resources name them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from piko_operator.config_spec import ConfigSource, KeyRef
from piko_operator.resources import PikoJobConfig


@dataclass(frozen=True, slots=True)
class _Words:
    plural: str
    word: str
    field: str
    reason: str


class SourceKind(Enum):
    """A kind of object that holds a part of a config."""

    SECRET = _Words("secrets", "secret", "secretKeyRef", "SecretUnavailable")
    CONFIG_MAP = _Words("configmaps", "ConfigMap", "configMapKeyRef", "ConfigMapUnavailable")

    @property
    def plural(self) -> str:
        """Its name in paths of the API."""
        return self.value.plural

    @property
    def word(self) -> str:
        """Its name in messages."""
        return self.value.word

    @property
    def field(self) -> str:
        """The field of `configFrom` that names one."""
        return self.value.field

    @property
    def reason(self) -> str:
        """The reason of a condition that says that one cannot be used."""
        return self.value.reason


@dataclass(frozen=True, slots=True)
class Source:
    """One Secret or ConfigMap."""

    kind: SourceKind
    namespace: str
    name: str


def referred(resource: PikoJobConfig) -> list[tuple[Source, KeyRef]]:
    """What the `configFrom` of a resource names, in its order."""
    return [_referred(resource.metadata.namespace, item) for item in resource.spec.config_from]


def _referred(namespace: str, item: ConfigSource) -> tuple[Source, KeyRef]:
    if item.secret_key_ref is not None:
        return Source(SourceKind.SECRET, namespace, item.secret_key_ref.name), item.secret_key_ref
    assert item.config_map_key_ref is not None, "the model has checked that there is one"
    return Source(SourceKind.CONFIG_MAP, namespace, item.config_map_key_ref.name), item.config_map_key_ref


class SourceUsers:
    """Which resources name which sources. For use on one event loop."""

    def __init__(self) -> None:
        self._sources: dict[str, frozenset[Source]] = {}
        self._users: dict[Source, dict[str, None]] = {}

    def __contains__(self, source: Source) -> bool:
        return source in self._users

    def note(self, uid: str, sources: Iterable[Source]) -> None:
        """Note what the resource `uid` names, instead of what it named before; nothing forgets it."""
        self.forget(uid)
        named = frozenset(sources)
        if named:
            self._sources[uid] = named
        for source in named:
            self._users.setdefault(source, {})[uid] = None

    def forget(self, uid: str) -> None:
        for source in self._sources.pop(uid, ()):
            users = self._users[source]
            del users[uid]
            if not users:
                del self._users[source]

    def of(self, source: Source) -> list[str]:
        """The uids of the resources that name `source`."""
        return list(self._users.get(source, ()))

    def used(self, kind: SourceKind, namespace: str | None) -> Iterator[Source]:
        """The sources of a kind that are named, in one namespace or in all."""
        for source in self._users:
            if source.kind is kind and namespace in (None, source.namespace):
                yield source
