"""Every public name says what it takes and gives, what it raises, and where it is from."""

from __future__ import annotations

import ast
import builtins
import doctest
import importlib
import inspect
import pathlib
import pkgutil
import re
import textwrap
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import minigan as mg
import minigan.kernels
from minigan.initializers import Initializer
from minigan.layers.norm import Normalization
from minigan.losses import Loss
from minigan.objectives import Objective
from minigan.optimizers import Optimizer
from minigan.run import metrics

pytestmark = pytest.mark.cpu("reads docstrings")

# These need no source: definitions of a line, which nobody proposed.
NO_SOURCE = {
    "Initializer": "the base class",
    "Zeros": "a constant",
    "Ones": "a constant",
    "RandomNormal": "a distribution, not a proposal",
    "RandomUniform": "a distribution, not a proposal",
    "TorchUniform": "PyTorch's default, which no paper has",
}
# These take and give what their layers do, or what a subclass says.
NO_SHAPES = {"Layer", "Sequential"}
OPTIONAL = {"cupy", "torch", "keras", "onnx", "onnxruntime", "jax"}  # packages of the extras


def public(module: ModuleType) -> dict[str, Any]:
    """The functions and classes that a public module holds, without what it imports."""
    names = getattr(module, "__all__", None) or [n for n in vars(module) if n[0] != "_"]
    home = "minigan" if hasattr(module, "__all__") else module.__name__
    found = {name: getattr(module, name) for name in names}
    return {
        f"{module.__name__.split('.')[-1]}.{name}": thing
        for name, thing in found.items()
        if callable(thing) and getattr(thing, "__module__", "").startswith(home)
    }


def subjects() -> dict[str, Any]:
    """All that `minigan.__all__` names, and the members of the modules among it."""
    found = dict[str, Any]()
    for name in mg.__all__:
        thing = getattr(mg, name)
        found |= public(thing) if isinstance(thing, ModuleType) else {name: thing}
    return found | public(metrics) | {"models.r3gan": mg.models.r3gan}


SUBJECTS = subjects()
CLASSES = {name: thing for name, thing in SUBJECTS.items() if isinstance(thing, type)}
# the classes themselves, and those of ours that they inherit from, each once
OWNERS = list(
    dict.fromkeys(
        cls for c in CLASSES.values() for cls in c.__mro__ if cls.__module__.startswith("minigan")
    )
)


def documentation(thing: Any) -> str:
    """The docstring, and those of the names whose arguments it says to take."""
    text = inspect.getdoc(thing) or ""
    known = {cls.__name__: cls for cls in getattr(thing, "__mro__", ())} | SUBJECTS
    return "\n".join([text, *(documentation(known[name]) for name in referred(text))]).strip()


def referred(text: str) -> list[str]:
    """The names in "Takes the arguments of NAME"."""
    return re.findall(r"\barguments\s+of\s+([\w.]*\w)", text)


def parameters(thing: Any) -> list[str]:
    """The names of the parameters, but for self, and what a class without a constructor shows."""
    found = inspect.signature(thing).parameters
    return [name for name in found if name not in ("self", "cls", "args", "kwargs")]


def raised(function: Any) -> set[str]:
    """The classes of the exceptions that a function's own lines raise."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [n.exc.func for n in ast.walk(tree) if isinstance(n, ast.Raise) and is_call(n.exc)]
    names = {f.attr if isinstance(f, ast.Attribute) else getattr(f, "id", "") for f in calls}
    return {name for name in names if name[:1].isupper()}


def unnamed(exceptions: set[str], text: str) -> list[str]:
    """The exceptions that a text names neither themselves nor, as OSError, by a base class."""
    found = []
    for name in sorted(exceptions):
        mro = getattr(getattr(builtins, name, None), "__mro__", ())
        words = {name, *(cls.__name__ for cls in mro[:-3])}  # up to Exception
        if len(missing(words, text)) == len(words):
            found.append(name)
    return found


def is_call(node: Any) -> bool:
    return isinstance(node, ast.Call)


def missing(words: Any, text: str) -> list[str]:
    return [word for word in words if not re.search(rf"\b{re.escape(word)}\b", text)]


def texts_of(cls: type, name: str) -> str:
    """The docstrings of a method in this class and its base classes, and of those it refers to."""
    found = [inspect.getdoc(vars(base)[name]) for base in cls.__mro__ if name in vars(base)]
    text = "\n".join(filter(None, found))
    return "\n".join([text, *(texts_of(cls, other) for other in referred(text))]).strip()


def faults_of_method(cls: type, name: str, method: Any) -> list[str]:
    """What is missing from the docstrings of a method.

    Where a class writes one anew without a docstring, that of the class may name its exceptions.
    """
    text = texts_of(cls, name)
    if not text:
        return ["a docstring"]
    if isinstance(method, property):
        parts, found = [f for f in (method.fget, method.fset) if f], []
    else:
        parts, found = [method], missing(parameters(method), text)
    if method.__doc__ is None:
        text += documentation(cls)
    return found + unnamed(set().union(*map(raised, parts)), text)


def faults_of_methods(cls: type) -> list[str]:
    """What is missing from the docstrings of the public methods and properties of a class."""
    found = []
    for name, method in vars(cls).items():
        method = getattr(method, "__func__", method)  # of a class method
        ours = inspect.isfunction(method) or isinstance(method, property)
        if ours and (name[0] != "_" or name == "__call__"):
            found += [f"{name}: {word}" for word in faults_of_method(cls, name, method)]
    return found


def faults(thing: Any) -> list[str]:
    """What is missing from the docstring of a function or a class."""
    text = documentation(thing)
    if not text:
        return ["a docstring"]
    parts = [thing]
    if isinstance(thing, type):
        parts = [c for n in ("__init__", "__post_init__", "__new__") if (c := written(thing, n))]
    return missing(parameters(thing), text) + unnamed(set().union(*map(raised, parts)), text)


def written(cls: type, name: str) -> Any:
    """The method of this name, if it has a source."""
    method = getattr(cls, name, None)
    return method if inspect.isfunction(method) and "<" not in method.__code__.co_filename else None


@pytest.mark.parametrize("name", SUBJECTS)
def test_says_what_it_takes_and_raises(name):
    found = faults(SUBJECTS[name])
    assert not found, f"the docstring of {name} lacks: {', '.join(found)}"


@pytest.mark.parametrize("cls", OWNERS, ids=lambda cls: cls.__name__)
def test_methods_say_what_they_take_and_raise(cls):
    found = faults_of_methods(cls)
    assert not found, f"the docstrings of {cls.__name__}'s methods lack: {', '.join(found)}"


@pytest.mark.parametrize(
    "name",
    [n for n, c in CLASSES.items() if issubclass(c, (mg.Layer, Loss)) and n not in NO_SHAPES],
)
def test_says_its_shapes(name):
    text = inspect.getdoc(SUBJECTS[name]) or ""
    shapes = r"\(N\b[^()]*\)\s+->\s+\(N\b|\(N\b.*, the same shape|[Aa]ny shape"
    if issubclass(CLASSES[name], Loss):
        shapes = r"prediction \(N\b|prediction of any shape"
    assert re.search(shapes, text), f"{name} lacks its shapes, as (N, C) -> (N, C)"


SOURCED = (Initializer, Normalization, Objective, Optimizer, mg.GradientPenalty)


@pytest.mark.parametrize(
    "name",
    [n for n, c in CLASSES.items() if issubclass(c, SOURCED) and n not in NO_SOURCE]
    + list(public(metrics)),
)
def test_says_its_source(name):
    year = r"\([^()]*\b(19|20)\d\d\b[^()]*\)"
    assert re.search(year, inspect.getdoc(SUBJECTS[name]) or ""), f"{name} lacks a (year)"


def test_the_public_names_are_looked_at():
    names = {"Layer", "GAN", "models.dcgan", "models.r3gan", "recipes.get", "datasets.folder"}
    assert names | NO_SHAPES | set(NO_SOURCE) <= set(SUBJECTS)
    assert all(NO_SOURCE.values())  # the reasons
    assert {"Objective", "Optimizer", "Container"} <= {cls.__name__ for cls in OWNERS}


def test_examples_give_what_they_show():
    """The doctests of all modules that can be imported here; np and mg are known in them."""
    examples, failures = 0, []
    for package in (mg.__path__[:1], minigan.kernels.__path__):
        prefix = "minigan." if package == mg.__path__[:1] else "minigan.kernels."
        for found in pkgutil.walk_packages(package, prefix):
            if found.name.endswith("__main__"):
                continue
            try:
                module = importlib.import_module(found.name)
            except ModuleNotFoundError as error:
                if error.name not in OPTIONAL:
                    raise
                continue
            result = doctest.testmod(module, extraglobs={"mg": mg, "np": np})
            examples += result.attempted
            failures += [found.name] * bool(result.failed)
    assert not failures, f"doctests fail in {', '.join(failures)}"
    assert examples >= 60


def test_the_reference_has_them_all():
    text = (pathlib.Path(__file__).resolve().parents[1] / "docs/reference.md").read_text()
    shown = re.findall(r"^\.\. auto\w+:: minigan\.([\w.]+)\n((?:   :.*\n)*)", text, re.MULTILINE)
    modules = {name.split(".")[-1] for name, options in shown if ":members:\n" in options}
    named = {name for name, _ in shown} | {"recipes.get", "recipes.with_objective"}
    left = [n for n in SUBJECTS if n not in named and n.split(".")[0] not in modules]
    assert not left
    assert ":members: get, with_objective" in dict(shown)["recipes"]
    full = {name for name, options in shown if ":inherited-members:" in options}
    inheriting = (Objective, Optimizer, mg.GAN, mg.SavedGenerator)
    assert full >= {n for n, cls in CLASSES.items() if issubclass(cls, inheriting)}
