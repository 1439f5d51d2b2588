"""What the emulated device leaves out is refused by name, never answered with stale memory."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn


def refuse(name: str) -> NoReturn:
    raise RuntimeError(f"{name}: the emulated device does not model it")


def refusing(name: str) -> Callable[..., Any]:
    """A function that raises when it is called."""

    def function(*args: Any, **kwargs: Any) -> NoReturn:
        refuse(name)

    return function


class Unmodelled(ModuleType):
    """A module whose missing attributes are refused."""

    def __init__(self, name: str, feature: str) -> None:
        super().__init__(name)
        self.__feature = feature
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        refuse(f"{self.__feature} ({self.__name__}.{name})")
