"""The search of a tuning: a TOML file comes in, recipes of single trials go out.

All trials see the same number of patches, whatever their batch size, and are validated
on the same ones, so their losses can be compared. Nothing here knows Optuna or Dask.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from deepspot_scale.config import Strict, checked, read_toml
from deepspot_scale.training.recipe import Recipe, beside, make_recipe, read_recipe


class SearchRange(Strict):
    """Numbers to choose from."""

    low: float
    """Smallest number."""
    high: float
    """Largest number."""
    log: bool = False
    """Whether equal ratios are equally likely, instead of equal differences."""

    @model_validator(mode="after")
    def _in_order(self) -> SearchRange:
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError(
                f"low must be below high, and above 0 if log is true; got {self.low} "
                f"and {self.high}"
            )
        return self


class Search(Strict):
    """The values that are tuned; the others stay as in the recipe."""

    learning_rate: SearchRange | None = None
    """Peak of the schedule."""
    dropout: SearchRange | None = None
    """Share of feature maps dropped."""
    filters: tuple[int, ...] | None = Field(default=None, min_length=2)
    """Filters of the residual blocks; stems and up path stay as they are."""
    batch: tuple[int, ...] | None = Field(default=None, min_length=2)
    """Patches in a batch, in the mixture's proportions."""


class TuneConfig(Strict):
    """A tuning: what is searched, how long, and where results go."""

    recipe: Recipe
    """The recipe of all trials: a table, or, in a file, the path of another file."""
    search: Search
    """The values in which trials differ."""
    out: str = "tune"
    """Folder to write to, on a disk that all workers share."""
    trials: int = Field(default=40, ge=1)
    """Trials that are finished or stopped early."""
    patches: int = Field(default=160_000, ge=1)
    """Patches that a trial learns from unless it is stopped early."""
    validations: int = Field(default=18, ge=1)
    """Validations of such a trial, evenly spaced."""
    reduction: int = Field(default=3, ge=2)
    """One of so many trials continues after each cut."""
    cuts: int = Field(default=2, ge=0)
    """Cuts of a trial; the last one is at 1/reduction of its patches, the one before
    at 1/reduction of that, and so on."""
    seed: int = Field(default=0, ge=0)
    """Seed of the choices; they repeat exactly only for one trial at a time."""
    resources: dict[str, float] = Field(default_factory=dict)
    """Dask resources that a trial needs, e.g. GPU = 1."""

    @model_validator(mode="after")
    def _fits(self) -> TuneConfig:
        if not self.search.model_dump(exclude_none=True):
            raise ValueError(
                f"search is empty: give {', '.join(Search.model_fields)} or some of it"
            )
        if not self.recipe.validation.every:
            raise ValueError(
                "trials are compared by validation, but the recipe has none"
            )
        if self.validations < self.reduction**self.cuts:
            raise ValueError(
                f"the first of {self.cuts} cuts by {self.reduction} needs at least "
                f"{self.reduction**self.cuts} validations, got {self.validations}"
            )
        for name, given in self.search:
            ends = (given.low, given.high) if isinstance(given, SearchRange) else given
            for value in ends or ():
                tuned_recipe(self.recipe, {name: value})
        return self


def read_tune(path: str | Path) -> TuneConfig:
    """Read a tuning from a TOML file; its paths are relative to the file's folder.

    Raises
    ------
    SettingsError
        The file does not exist or is not TOML, or a value is unfit.
    """
    path = Path(path)
    values, folder = read_toml(path), path.absolute().parent
    recipe = values.get("recipe")
    if isinstance(recipe, str):
        values["recipe"] = read_recipe(folder / recipe)
    elif isinstance(recipe, dict):
        values["recipe"] = beside(recipe, folder)
    values["out"] = str(folder / str(values.get("out", "tune")))
    return checked(TuneConfig, values)


def scaled_mixture(recipe: Recipe, batch: int) -> list[dict[str, Any]]:
    """Return the recipe's mixture with `batch` patches in all.

    Raises
    ------
    ValueError
        The proportions do not give whole patches.
    """
    mixture = []
    for part in recipe.mixture:
        patches, rest = divmod(part.patches * batch, recipe.batch)
        if rest or patches < 1:
            wanted = " : ".join(str(each.patches) for each in recipe.mixture)
            raise ValueError(
                f"a batch of {batch} cannot hold whole patches in the proportions "
                f"{wanted} of the mixture"
            )
        mixture.append({**part.model_dump(), "patches": patches})
    return mixture


def tuned_recipe(recipe: Recipe, chosen: dict[str, Any]) -> Recipe:
    """Return the recipe with the chosen values, by their names in `Search`."""
    values = recipe.model_dump()
    if "learning_rate" in chosen:
        values["learning_rate"] = chosen["learning_rate"]
    if "batch" in chosen:
        values["mixture"] = scaled_mixture(recipe, chosen["batch"])
    for name in {"dropout", "filters"} & chosen.keys():
        values["architecture"][name] = chosen[name]
    return make_recipe(**values)


def trial_recipe(config: TuneConfig, chosen: dict[str, Any]) -> Recipe:
    """Return the recipe of one trial, with `config.patches` and no early stopping."""
    recipe = tuned_recipe(config.recipe, chosen)
    steps = max(1, round(config.patches / recipe.batch))
    every = max(1, steps // config.validations)
    values = recipe.model_dump()
    values["validation"] |= {"every": every, "patience": None}
    return make_recipe(**{**values, "steps": steps, "save_every": every})
