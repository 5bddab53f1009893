"""Decorators with which public functions of features and models check what they are given, before they compute.

Each costs a few microseconds a call. They look at `.shape`, `.schema` or an attribute only, so numpy, torch and polars values serve alike and
nothing heavy is imported. Every failure is a `ContractViolation` that names function, argument, expectation and finding.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from data_contracts.gate import ContractViolation

P = ParamSpec("P")
R = TypeVar("R")


def checks_shape(**axes: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Demand named axes of array arguments: `@checks_shape(x="batch time feature", y="batch 1")`.

    A word is an axis that must have one length throughout a call, a number an axis of exactly that length. None is let through: an argument left out.
    """
    specs = {name: tuple(int(axis) if axis.isdigit() else axis for axis in text.split()) for name, text in axes.items()}

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        places = _places(function, specs)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            lengths: dict[str, int] = {}
            for name, position, spec in places:
                value = args[position] if position < len(args) else kwargs.get(name)
                if value is not None:
                    _check_shape(function, name, value, spec, lengths)
            return function(*args, **kwargs)

        return checked

    return decorate


def checks_schema(**columns: Mapping[str, Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Demand columns with their dtypes of polars frames: `@checks_schema(bars=BAR_COLUMNS)`. Further columns are allowed; None is let through."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        places = _places(function, columns)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for name, position, wanted in places:
                value = args[position] if position < len(args) else kwargs.get(name)
                if value is not None:
                    _check_schema(function, name, value, wanted)
            return function(*args, **kwargs)

        return checked

    return decorate


def requires_fitted(attribute: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Demand of a method's object that `attribute` exists and is not None: that it was fitted or loaded before it is asked."""

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(method)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            if getattr(args[0], attribute, None) is None:
                owner = type(args[0]).__name__
                raise ContractViolation(f"{_name(method)}: expected a fitted {owner}, found one without {attribute}. Fit or load it first.")
            return method(*args, **kwargs)

        return checked

    return decorate


def _places(function: Callable[..., Any], specs: Mapping[str, Any]) -> tuple[tuple[str, int, Any], ...]:
    """Name, position and expectation of each checked argument; keyword-only arguments have a position no call reaches."""
    parameters = inspect.signature(function).parameters
    unknown = [name for name in specs if name not in parameters]
    if unknown:
        raise TypeError(f"{_name(function)} has no argument {', '.join(unknown)} to check. Name its own arguments: {', '.join(parameters)}.")
    order = [name for name, parameter in parameters.items() if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)]
    beyond = 1 << 30
    return tuple((name, order.index(name) if name in order else beyond, spec) for name, spec in specs.items())


def _check_shape(function: Callable[..., Any], name: str, value: Any, spec: tuple[int | str, ...], lengths: dict[str, int]) -> None:
    shape = getattr(value, "shape", None)
    if shape is None:
        raise ContractViolation(f"{_expected(function, name, spec)}, found a {type(value).__name__}. Convert it to an array first.")
    if len(shape) != len(spec):
        raise ContractViolation(f"{_expected(function, name, spec)}, found {len(shape)} axes {tuple(shape)}. Check whether an axis was dropped or added.")
    for axis, length in zip(spec, shape, strict=True):
        wanted = axis if isinstance(axis, int) else lengths.setdefault(axis, length)
        if wanted != length:
            why = "" if isinstance(axis, int) else f", and {axis} is {wanted} in this call"
            raise ContractViolation(f"{_expected(function, name, spec)}{why}, found {tuple(shape)}. Check which argument has the wrong {axis}.")


def _check_schema(function: Callable[..., Any], name: str, frame: Any, wanted: Mapping[str, Any]) -> None:
    if not hasattr(frame, "collect_schema"):
        raise ContractViolation(f"{_name(function)}: expected {name} to be a polars frame, found a {type(frame).__name__}. Convert it first.")
    schema = frame.collect_schema()
    for column, dtype in wanted.items():
        found = schema.get(column)
        if found != dtype:
            what = f"no such column among {', '.join(schema)}" if found is None else f"{found}"
            raise ContractViolation(f"{_name(function)}: expected column {column} of {name} as {dtype}, found {what}. Admit the frame at its source.")


def _expected(function: Callable[..., Any], name: str, spec: tuple[int | str, ...]) -> str:
    return f"{_name(function)}: expected {name} as [{', '.join(map(str, spec))}]"


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function))
