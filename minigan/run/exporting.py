"""What the exports share: a walk through a model's layers, and files that replace no other.

An export has a class that says, layer by layer, what a layer becomes: nodes of a graph, or lines of
source.  The walk itself, through Sequential and Parallel, is here once.
"""

from __future__ import annotations

import ast
import copy
import keyword
import os
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from ..layers import Parallel, Reshape, activations
from ..layers.arguments import one_of, show_shape
from ..layers.base import Layer
from ..layers.container import Container
from ..sampler import is_conditional
from ..sequential import Sequential, is_labels
from .files import make_folder, write_bytes

ROLES = {"generator": ("z", "images"), "discriminator": ("images", "scores")}  # input, output
# what a torch.nn.Module has, so that a layer cannot be called so
MODULE_NAMES = frozenset(
    """
    T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda double
    dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter
    get_submodule half ipu load_state_dict modules mtia named_buffers named_children named_modules
    named_parameters parameters register_backward_hook register_buffer register_forward_hook
    register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
    register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_
    set_extra_state set_submodule share_memory state_dict to to_empty train training type xpu
    zero_grad
    """.split()
)
Way = tuple[str, ...]  # the names of a layer's containers and its own, from the model down


class Input(NamedTuple):
    """An input of a model: its name, its shape without the batch axis, and its classes.

    classes: how many, if it is labels; None if it is numbers.
    """

    name: str
    shape: tuple[int, ...]
    classes: int | None


class Exporter:
    """Sends a value through a model; a subclass says what each layer makes of it.

    counterparts: class of a layer -> function(exporter, layer, value) -> value.  While one is
    called, `name` is the layer's, unique in the model, and `lane` names the branch that it is in:
    "x", and "x0", "x1", ... in the branches of a Parallel.
    """

    framework: ClassVar[str]
    counterparts: ClassVar[Mapping[type, Callable[..., Any]]]

    def __init__(self, model: Sequential, role: str) -> None:
        """Raises TypeError or ValueError for what cannot be exported."""
        self.model = exportable(model, self.framework)
        self.role, self.inputs = role, inputs_of(self.model, role)
        self.output = ROLES[role][1]
        self.names = names_of(self.model)
        self.name = self.lane = ""

    def merge(self, layer: Parallel, values: list[Any]) -> Any:
        """The outputs of a Parallel's branches, joined."""
        raise NotImplementedError

    def flow(self) -> Any:
        """The value that comes out of the model when its inputs' names go in."""
        names = tuple(each.name for each in self.inputs)
        return self._flow(self.model, names if is_conditional(self.model) else names[0], (), "x")

    def _flow(self, layer: Layer, value: Any, way: Way, lane: str) -> Any:
        if type(layer) is Sequential:  # a subclass may compute something else
            for name, child in layer.children():
                value = self._flow(child, value, (*way, name), lane)
            return value
        if type(layer) is not Parallel:
            self.name, self.lane = self.names[way], lane
            return self.convert(layer, value)
        parts = value if layer.split else [value] * len(layer.layers)
        outputs = [
            self._flow(child, part, (*way, name), lane + name)
            for (name, child), part in zip(layer.children(), parts, strict=True)
        ]
        self.name, self.lane = self.names[way], lane
        return self.merge(layer, outputs)

    def convert(self, layer: Layer, value: Any) -> Any:
        """What the layer makes of a value."""
        return self.counterpart(layer)(self, layer, value)

    def counterpart(self, layer: Layer) -> Callable[..., Any]:
        """The function that converts this layer; ValueError if there is none."""
        if type(layer) not in self.counterparts:
            raise ValueError(
                f"{layer.name}: minigan cannot write a {type(layer).__name__} in {self.framework}; "
                "it knows its own layers"
            )
        return self.counterparts[type(layer)]

    def activate(self, name: str | None, value: Any) -> Any:
        """The activation of this name of a value."""
        return self.convert(activations.get(name), value)


class SourceWriter(Exporter):
    """An exporter to Python source: a value is the name of a variable."""

    imports: ClassVar[dict[str, str]]  # name -> the line that imports it
    helper_file: ClassVar[str]  # beside this file: definitions that may be copied into the source

    def __init__(self, model: Sequential, role: str) -> None:
        super().__init__(model, role)
        self.lines: list[str] = []  # of the function that computes
        self.used: set[str] = set()  # helpers
        self.notes: dict[str, None] = {}  # each once

    def theirs(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of numbers, as it is there."""
        return shape

    def assign(self, expression: str) -> str:
        """Assign to the variable of this branch."""
        self.lines.append(f"{self.lane} = {expression}")
        return self.lane

    def note(self, line: str) -> None:
        """A line of the docstring, for those who train on."""
        self.notes[line] = None

    def helper(self, name: str) -> str:
        """The name of a helper, whose definition then goes into the source."""
        self.used.add(name)
        return name

    def helpers(self) -> str:
        """The definitions of the helpers in use."""
        text = (resources.files(__package__) / self.helper_file).read_text(encoding="utf-8")
        lines, found = text.splitlines(), []
        for node in ast.parse(text).body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name in self.used:
                first = min(each.lineno for each in (node, *node.decorator_list))
                found.append("\n".join(["", "", *lines[first - 1 : node.end_lineno], ""]))
        return "".join(found)

    def imported(self, code: str) -> str:
        """The imports of the names that the code uses."""
        names = [name for name in self.imports if re.search(rf"(?<![\w.]){name}\.", code)]
        return "\n".join(self.imports[name] for name in names)

    def filled(self, page: str, body: str, about: str, **more: str) -> str:
        """The text of the file: the page with what both exports say in it."""
        described, imports = self.described(about), self.imported(body)
        return page.format(role=self.role, described=described, imports=imports, body=body, **more)

    def described(self, about: str) -> str:
        """What goes in and what comes out, a line each, and the sentence, for a docstring."""
        values = [*self.inputs, Input(self.output, self.model.output_shape, None)]
        lines = [
            f"{name}: {shown(shape)}, whole numbers from 0 to {classes - 1}"
            if classes
            else f"{name}: {shown(self.theirs(shape))}"
            for name, shape, classes in values
        ]
        about = about.replace("\\", "/").replace('"', "'")  # they would end or change it
        return "\n".join([*lines, *textwrap.wrap(about, 90), *self.notes])


def shown(shape: tuple[int, ...]) -> str:
    """A shape of N samples: (N, 28, 28, 1)."""
    return show_shape(shape).replace("None", "N")


def call(function: str, *arguments: Any, **options: Any) -> str:
    """The source of a call: values as they print, without the options that are None."""
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    return f"{function}({', '.join([*map(str, arguments), *given])})"


def short(sides: Sequence[int]) -> Any:
    """One number for sides that are all the same, else a tuple."""
    return sides[0] if len(set(sides)) == 1 else tuple(sides)


def unless(value: Any, usual: Any) -> Any:
    """The value, or None where it is the usual one, which need not be written."""
    return None if value == usual else value


def exportable(model: Any, where: str) -> Sequential:
    """The model on the CPU, if it is a built Sequential of real numbers."""
    if not isinstance(model, Sequential):
        raise TypeError(f"export: expected a Sequential, got a {type(model).__name__}")
    if model.output_shape is None:
        raise ValueError("export: the model is not built; give it an input_shape")
    if model.dtype.kind == "c":
        raise ValueError(
            f"export: the model is {model.dtype}, which {where} cannot hold; export a real copy of "
            'it: model.astype("float32")'
        )
    return model.to("numpy")


def reshaped(model: Sequential, shape: tuple[int, ...]) -> Sequential:
    """The model with a Reshape to this shape behind it, sharing its arrays."""
    last = Reshape(shape)
    last.build(model.output_shape, model.dtype)
    other = copy.copy(model)
    other.layers, other.names = [*model.layers, last], [*model.names, "reshape_to_images"]
    other.output_shape = last.output_shape
    other.regroup()
    return other


def inputs_of(model: Sequential, role: str) -> list[Input]:
    """A model's inputs, in order: "z" or "images", and "labels"."""
    data = ROLES[one_of(role, tuple(ROLES), "role", "export")][0]
    takes = model.input_shape
    shapes = list(enumerate(takes)) if is_conditional(model) else [(None, takes)]
    if any(shape and isinstance(shape[0], tuple) for _, shape in shapes):
        raise ValueError(f"export: {model.name} takes tuples of tuples, {model.input_shape}")
    found: list[Input] = []
    for which, shape in shapes:
        classes = is_labels(model, which)
        name = unused(data if classes is None else "labels", [each.name for each in found])
        found.append(Input(name, shape, classes))
    return found


def tree(layer: Layer, way: Way = ()) -> Iterator[tuple[Way, Layer]]:
    """The layers of a model, containers first, in order."""
    yield way, layer
    if isinstance(layer, Container):
        for name, child in layer.children():
            yield from tree(child, (*way, name))


def names_of(model: Sequential) -> dict[Way, str]:
    """A name for each layer that is unique and that every source can hold: parallel_0_embedding.

    That is an identifier that is none of Python's keywords, of PyTorch's own names in a module, or
    of the model's inputs; and it does not begin as private names do.
    """
    count = len(model.input_shape) if is_conditional(model) else 1
    taken = {*_input_names(count), *keyword.kwlist, *MODULE_NAMES}
    names: dict[Way, str] = {}
    for way, _ in tree(model):
        name = re.sub(r"\W|^(?=\d)", "_", "_".join(way), flags=re.ASCII)
        name = re.sub(r"^_+(?=[A-Za-z])", "", re.sub(r"^_+(?=\d)", "_", name))
        names[way] = unused(name, {*names.values(), *taken})
    return names


def _input_names(count: int) -> Iterator[str]:
    """What inputs_of may call so many inputs, in either role."""
    for base in ("z", "images", "labels"):
        yield from (f"{base}_{n}" if n else base for n in range(count))


def unused(name: str, taken: Iterable[str]) -> str:
    """name, or the first of name_1, name_2, ... that is not taken."""
    taken, found, count = set(taken), name, 0
    while found in taken:
        count += 1
        found = f"{name}_{count}"
    return found


def margins(layer: Any) -> list[tuple[int, int]]:
    """(before, after) of each spatial axis: pixels that the windows reach beyond the image.

    The last window ends (out-1)*stride + kernel - before pixels from the image's first; where that
    is less than `size`, `after` is negative.  A transposed convolution is cut by its margins.
    """
    axes = layer.geometry[2 - getattr(layer, "axes", 2) :]
    ends = [(a.out - 1) * a.stride + a.kernel - a.before for a in axes]
    return [(a.before, end - a.size) for a, end in zip(axes, ends, strict=True)]


def paddings(layer: Any) -> list[tuple[int, int]]:
    """(before, after) of each spatial axis: pixels that a convolution or pooling is padded by."""
    return [(before, max(after, 0)) for before, after in margins(layer)]


def write_new(files: Mapping[str | os.PathLike, bytes]) -> list[Path]:
    """Write files that replace no other; one that is there with the same bytes is left as it is.

    Raises FileExistsError or NotADirectoryError before anything is written, WriteError when the
    disk does not take it.
    """
    paths = {Path(path): data for path, data in files.items()}
    for path, data in paths.items():
        if path.parent.exists() and not path.parent.is_dir():
            raise NotADirectoryError(f"{path.parent} is a file; give a folder to export into")
        if path.exists() and not (path.is_file() and path.read_bytes() == data):
            raise FileExistsError(
                f"{path} is there already, with something else in it, and an export replaces "
                "nothing.\nGive another place, or remove it first."
            )
    for path, data in paths.items():
        make_folder(path.parent)
        write_bytes(path, data)
    return list(paths)
