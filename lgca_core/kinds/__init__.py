"""Refuses arguments of the wrong kind in one sentence, by the annotations of a public function or class.

Python would go on: a string is a sequence of letters, a mapping one of keys; either gives numbers that mean nothing.
"""

import inspect
import json
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, wraps
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from lgca_core.errors import LgcaError

_MARK = "__checked__"
_Target = TypeVar("_Target", bound=Callable[..., Any])


def checked(target: _Target) -> _Target:
    """A function that raises LgcaError for an argument that its annotation does not allow; of a class, its public ones.

    Elements of sequences and mappings are looked at as well; those of an iterator are not, which that would use up.
    A number may be numpy's; True and False are no numbers.
    """
    if isinstance(target, type):
        own = {name: thing for name, thing in vars(target).items() if inspect.isfunction(thing)}
        for name, function in own.items():
            if name == "__init__" or not name.startswith("_"):
                setattr(target, name, _checked(function, target.__name__ if name == "__init__" else name))
        return target
    return target if hasattr(target, _MARK) else _checked(target, target.__name__)  # type: ignore[return-value]


def _checked(function: Callable[..., Any], called: str) -> Callable[..., Any]:
    @cache
    def expected() -> tuple[inspect.Signature, dict[str, Any]]:
        """Looked up at the first call, when every module is there."""
        signature, hints = inspect.signature(function), get_type_hints(function)
        taken = {
            name for name, of in signature.parameters.items() if of.kind not in (of.VAR_KEYWORD, of.VAR_POSITIONAL)
        }
        return signature, {name: hint for name, hint in hints.items() if name in taken}

    @wraps(function)
    def refusing(*args: Any, **named: Any) -> Any:
        signature, hints = expected()
        for name, value in signature.bind(*args, **named).arguments.items():
            if name in hints and value is not signature.parameters[name].default:
                refuse(f"{called}: {name}", value, hints[name])
                if get_origin(hints[name]) is Literal and function.__name__ != "__init__":  # a class says so itself
                    _refuse_choice(f"{called}: {name}", value, hints[name])
        return function(*args, **named)

    setattr(refusing, _MARK, True)
    return refusing


def refuse(what: str, value: object, hint: Any) -> None:
    """Raises LgcaError, which begins with `what`, where a value is not of the kind of an annotation."""
    wrong = _misfit(value, hint)
    if wrong is None:
        return
    bad, inside = wrong
    mend = ": put it in a list" if isinstance(bad, str) and _lists(hint) else ""
    raise LgcaError(f"{what} must be {_words(hint)}, {'but one is' if inside else 'not'} {kind_of(bad)}{mend}")


def _refuse_choice(what: str, value: object, hint: Any) -> None:
    if value not in get_args(hint):
        raise LgcaError(f"{what} must be {_words(hint)}, not {kind_of(value)}")


def kind_of(value: object) -> str:
    """What a value is, for a sentence."""
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return f"the string {value[:40] + ('...' if len(value) > 40 else '')!r}"
    if isinstance(value, int | float | np.number):
        return f"the number {value}"
    name = value.__name__ if isinstance(value, type) else type(value).__name__
    return f"{'the class ' if isinstance(value, type) else _article(name)}{name}"


def _article(name: str) -> str:
    return "an " if name[:1].lower() in "aeiou" else "a "


def _misfit(value: Any, hint: Any) -> tuple[object, bool] | None:
    """What does not fit, and whether it lies inside; None where all fits."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        found = [_misfit(value, option) for option in args]
        inner = [wrong for wrong in found if wrong and wrong[1]]
        return None if None in found else (inner or found)[0]
    if origin is Literal:
        return None if isinstance(value, tuple({type(choice) for choice in args})) else (value, False)
    if origin is not None:
        return _misfit_of_many(value, origin, args)
    return None if _is(value, hint) else (value, False)


def _misfit_of_many(value: Any, origin: Any, args: tuple[Any, ...]) -> tuple[object, bool] | None:
    if origin is tuple or (isinstance(origin, type) and issubclass(origin, Sequence)):
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            return value, False
        if origin is tuple and args[-1:] != (...,):
            if len(value) != len(args):
                return value, False
            return _inside(zip(value, args))
        return _inside((element, args[0]) for element in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            return value, False
        return _inside(pair for key, of in value.items() for pair in ((key, args[0]), (of, args[1])))
    if origin is Callable or origin is types.FunctionType:
        return None if callable(value) else (value, False)
    if origin is Iterable:
        return (value, False) if isinstance(value, str | bytes) or not isinstance(value, Iterable) else None
    return None if not isinstance(origin, type) or isinstance(value, origin) else (value, False)


def _inside(pairs: Iterable[tuple[Any, Any]]) -> tuple[object, bool] | None:
    wrong = next(filter(None, (_misfit(element, hint) for element, hint in pairs)), None)
    return wrong and (wrong[0], True)


def _is(value: object, hint: Any) -> bool:
    if hint is float or hint is int:
        return isinstance(value, Real if hint is float else Integral) and not isinstance(value, bool)
    if hint is bool:
        return isinstance(value, bool | np.bool_)
    if hint is None:
        return value is None
    if hint is Any or not isinstance(hint, type) or isinstance(value, hint):
        return True
    return hint.__module__ == "torch" and hint.__name__ == "device" and isinstance(value, str)  # torch takes its name


def _lists(hint: Any) -> bool:
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    origins = {get_origin(option) for option in options} - {tuple}
    return any(isinstance(of, type) and issubclass(of, Sequence) for of in origins)


_ONE = {int: "a whole number", float: "a number", str: "a string", bool: "True or False", type(None): "None"}
_MANY = {int: "whole numbers", float: "numbers", str: "strings"}


def _words(hint: Any, many: bool = False) -> str:
    """What an annotation allows, in words."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_words(option, many) for option in args)
    if origin is Literal:
        said = [json.dumps(choice) for choice in args]
        return " or ".join([", ".join(said[:-1]), said[-1]] if said[1:] else said)
    if origin is tuple and args[-1:] != (...,):
        return f"{'pairs' if many else 'a pair'} of {_words(args[0], True)}"
    if origin is tuple or (isinstance(origin, type) and issubclass(origin, Sequence | Iterable) and len(args) == 1):
        return f"{'lists' if many else 'a list'} of {_words(args[0], True)}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"{'dicts' if many else 'a dict'} of {_words(args[0], True)} to {_words(args[1], True)}"
    if (origin is not None and not isinstance(origin, type)) or origin is Callable:
        return "functions" if many else "a function"
    if hint in (_MANY if many else _ONE):
        return (_MANY if many else _ONE)[hint]
    name = getattr(origin or hint, "__name__", str(hint))
    return f"{name}s" if many else f"{_article(name)}{name}"
