"""The arguments of one call by name, bound without the cost of `inspect.Signature.bind`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class Binder:
    """Binds calls of one function.

    Args:
        fn: the function; one without a readable signature is taken for ``(*args, **kwargs)``.
    """

    __slots__ = ("_defaults", "_extra_name", "_positional", "_required", "_rest_name", "names", "order", "parameters")

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.parameters = _parameters(fn)
        kinds = self.parameters.values()
        self._positional = tuple(p.name for p in kinds if p.kind in _POSITIONAL)
        self._rest_name = next((p.name for p in kinds if p.kind is Parameter.VAR_POSITIONAL), None)
        self._extra_name = next((p.name for p in kinds if p.kind is Parameter.VAR_KEYWORD), None)
        self.names = frozenset(p.name for p in kinds if p.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD))
        self.order = tuple(p.name for p in kinds if p.kind is not Parameter.VAR_KEYWORD)
        self._defaults = {p.name: p.default for p in kinds if p.default is not Parameter.empty}
        self._required = self.names - self._defaults.keys()

    @property
    def takes_any_keyword(self) -> bool:
        """Whether the function has ``**kwargs``."""
        return self._extra_name is not None

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return the named arguments and those of ``**kwargs``, or None where the function would refuse the call.

        Args:
            args: the positional arguments, ``self`` included.
            kwargs: the keyword arguments.
        """
        named: dict[str, Any] = dict(zip(self._positional, args, strict=False))
        extra: dict[str, Any] = {}
        taken = len(named)
        if self._rest_name is not None:
            named[self._rest_name] = args[taken:]
        elif len(args) > taken:
            return None
        for name, value in kwargs.items():
            if name in self.names and not self._positional_only(name):
                if name in named:
                    return None
                named[name] = value
            elif self._extra_name is None:
                return None
            else:
                extra[name] = value
        if not named.keys() >= self._required:
            return None
        for name, value in self._defaults.items():
            named.setdefault(name, value)
        return named, extra

    def _positional_only(self, name: str) -> bool:
        return self.parameters[name].kind is Parameter.POSITIONAL_ONLY


def _parameters(fn: Callable[..., Any]) -> Mapping[str, Parameter]:
    try:
        return inspect.signature(fn).parameters
    except (TypeError, ValueError):
        return inspect.signature(lambda *args, **kwargs: None).parameters  # only its shape is read
