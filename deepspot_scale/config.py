"""Values that come in from people: TOML read, checked, compared, and refused in words.

A pydantic model and plain values come in, the checked model goes out, or an error that
names each unfit value and the nearest known name of each unknown one. Nothing here
knows what the values are for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from deepspot_scale.errors import SettingsError, did_you_mean

Checked = TypeVar("Checked", bound=BaseModel)


class Strict(BaseModel):
    """Values that never change and have no unknown companions."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    SettingsError
        No such file, or no TOML in it.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no TOML: {error}") from error


def checked(
    model: type[Checked],
    values: dict[str, Any],
    *,
    noun: str = "value",
    table: str = "",
) -> Checked:
    """Return `values` as `model`, or say in words what does not fit.

    Parameters
    ----------
    model
        What they are for.
    values
        By name.
    noun
        What one of them is called where there is no such name.
    table
        Name of the table that they stand in; empty: none.

    Raises
    ------
    SettingsError
        One clause for each unfit value.
    """
    try:
        return model(**values)
    except ValidationError as error:
        inside = (table,) if table else ()
        lines = [
            _explain(model, dict(problem), noun, inside) for problem in error.errors()
        ]
        raise SettingsError("; ".join(lines)) from error


def _explain(
    model: type[BaseModel], problem: dict[str, Any], noun: str, inside: tuple[str, ...]
) -> str:
    place = problem["loc"]
    name = ".".join(map(str, (*inside, *place)))
    if problem["type"] != "extra_forbidden":
        message = str(problem["msg"]).removeprefix("Value error, ")
        return f"{name}: {message}" if name else message
    known = _owner(model, place[:-1]).model_fields
    return f"there is no {noun} {name!r}.{did_you_mean(str(place[-1]), known)}"


def _owner(model: type[BaseModel], place: tuple[str | int, ...]) -> type[BaseModel]:
    """Return the model of the table at `place`; numbers count entries of lists."""
    for key in place:
        if isinstance(key, str):
            kind: Any = model.model_fields[key].annotation
            model = next(each for each in (*get_args(kind), kind) if _is_model(each))
    return model


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


Values = BaseModel | Mapping[str, Any]


def difference(old: Values, new: Values) -> list[str]:
    """Return one line for each value that differs: name, what it was, what it is.

    Examples
    --------
    >>> difference({"size": {"edge": 3}}, {"size": {"edge": 4}})
    ['size.edge: 3 there, now 4']
    """
    before, after = dict(_flat(old)), dict(_flat(new))
    return [
        f"{name}: {before.get(name)!r} there, now {after.get(name)!r}"
        for name in (*after, *(name for name in before if name not in after))
        if before.get(name) != after.get(name)
    ]


def _flat(values: Values, table: str = "") -> Iterator[tuple[str, Any]]:
    plain = values.model_dump(mode="json") if isinstance(values, BaseModel) else values
    for name, value in plain.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{table}{name}.")
        else:
            yield f"{table}{name}", value
