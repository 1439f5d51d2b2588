"""Things that may be named in a recipe or a saved file: initializers, objectives, optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from .spelling import did_you_mean

T = TypeVar("T")


def find(kind: str, known: Mapping[str, T], name: Any) -> T:
    """The entry of this name; ValueError with the known names otherwise."""
    if not isinstance(name, str) or name not in known:
        raise ValueError(
            f"{kind} {name!r} is unknown; known are {', '.join(known)}"
            f"{did_you_mean(str(name), list(known))}"
        )
    return known[name]


def make(kind: str, known: Mapping[str, type[T]], spec: Any) -> T:
    """A new one from a name, or from {"name": ..., and the constructor's arguments}."""
    options = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
    return find(kind, known, options.pop("name", None))(**options)


def name_of(kind: str, known: Mapping[str, type], thing: Any) -> str:
    """The name of a thing's class; TypeError when it is not among the known ones."""
    for name, cls in known.items():
        if type(thing) is cls:
            return name
    raise TypeError(f"{type(thing).__name__} is not registered: add it to minigan.{kind}s.NAMES")
