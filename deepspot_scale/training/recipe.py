"""The recipe of a training: TOML comes in, checked plain values go out.

A recipe holds everything that decides about the weights, and nothing else; it can be
written, compared, and sent to a worker. Nothing here opens images or knows Keras.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from deepspot_scale.config import Strict, checked, read_toml
from deepspot_scale.errors import did_you_mean
from deepspot_scale.networks.families import CASO_RESNET, find_family
from deepspot_scale.networks.weights import shipped_models
from deepspot_scale.simulation import SIMULATORS
from deepspot_scale.training.augmentation import DEFAULTS, Augmentation
from deepspot_scale.training.denoising_recipe import BlindSpots
from deepspot_scale.training.dye_recipe import DYES, DyeRanges
from deepspot_scale.training.localisation_recipe import MOVIES, MovieRanges
from deepspot_scale.training.nuclei_recipe import NUCLEI, NucleiRanges
from deepspot_scale.training.rating_recipe import LADDERS, RatingRanges
from deepspot_scale.training.volume_recipe import VOLUMES, VolumeRanges


class Part(Strict):
    """One source of images, and its patches in every batch."""

    source: str
    """A simulated set (paper, fixed, var, broad, dynamic), movies or volumes (networks
    of localisation, in depth), dyes (those of dyes), nuclei (those of objects), ladders
    (judges of quality), or a folder of known images."""
    patches: int = Field(ge=1)
    """Patches of it in every batch."""
    spots: tuple[int, int] = (10, 150)
    """Fewest and most spots of a simulated image; broad and dynamic draw theirs."""
    cuts: int = Field(default=3, ge=1)
    """Most patches cut from one simulated image: drawing it costs more than that."""
    grains: bool = False
    """Whether grains that stand out of noise count as spots: for a network that only
    says what is a dot, and leaves to the field which dots are its spots."""
    size: int | None = Field(default=None, ge=16)
    """Edge of a simulated image in pixels; None: 256, or the patch if it is larger."""

    @field_validator("spots")
    @classmethod
    def _in_order(cls, spots: tuple[int, int]) -> tuple[int, int]:
        if not 0 <= spots[0] <= spots[1]:
            raise ValueError(f"spots are [fewest, most], got {list(spots)}")
        return spots


class Validation(Strict):
    """When and on which patches the averaged weights are validated."""

    every: int = Field(default=200, ge=0)
    """Steps between two validations; the last step is validated too. 0: never."""
    patches: int = Field(default=64, ge=1)
    """Patches of a validation, in the mixture's proportions, the same each time."""
    held_out: float = Field(default=0.1, ge=0, lt=1)
    """Share of each folder's images, one at least, kept for validation. 0: none;
    validation then uses only simulated images, which have a seed of their own."""
    patience: int | None = Field(default=None, ge=1)
    """Validations without a better one after which training ends, with the best
    weights kept. None: train to the last step and keep its weights."""


class Recipe(Strict):
    """Everything that a training depends on.

    The defaults train the paper's network, without dropout, on simulated images.
    """

    family: str = CASO_RESNET.name
    """What kind of network to train."""
    architecture: Any = Field(default=None, validate_default=True)
    """The network to train; numbers that are left out are the family's own, without
    dropout."""
    start_from: str | None = None
    """Shipped model or weights file to start from; None: random initial weights."""
    take: Literal["all", "leading"] = "all"
    """leading: from a network of another architecture, take the weights before the
    first that does not fit (the stems and first residual blocks); the others are
    random."""
    mixture: tuple[Part, ...] = Field(
        default=(Part(source="paper", patches=6), Part(source="broad", patches=10)),
        min_length=1,
    )
    """The sources of every batch."""
    movies: MovieRanges = MovieRanges()
    """Microscope and sample of the source movies, for networks of localisation."""
    volumes: VolumeRanges = VolumeRanges()
    """Microscope, mask and sample of the source volumes, for networks in depth."""
    nuclei: NucleiRanges = NucleiRanges()
    """How images of nuclei are altered, for networks of objects."""
    rating: RatingRanges = RatingRanges()
    """Simulated ladders and the weight of their order, for judges of quality."""
    patch: int = Field(default=128, ge=8, validate_default=True)
    """Edge of a patch in pixels, a multiple of the network's grid."""
    dyes: DyeRanges = DyeRanges()
    """Molecules of the source dyes, for networks that tell dyes apart."""
    blind: BlindSpots = BlindSpots()
    """Pixels that are hidden, for networks that remove noise."""
    target: Literal["black", "image", "sharp"] = "black"
    """Background of the stamps; image is the paper's; sharp: steeper stamps on black,
    for networks whose maxima are the spots."""
    augmentation: Augmentation = Field(default=None, validate_default=True)
    """Random changes of patches; what is left out is as the family usually has it."""
    steps: int = Field(default=20_000, ge=1)
    """Optimiser steps in all."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak of the schedule: a linear warm-up, then a cosine down to zero."""
    warm_up: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps that the warm-up takes."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Weight decay of AdamW."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient of one variable."""
    cross_entropy: float = Field(default=10.0, ge=0)
    """Weight of the binary cross-entropy; 1 in the paper."""
    maximum: float = Field(default=0.1, ge=0)
    """Weight of the squared error of a patch's brightest pixel; 1 in the paper."""
    average: float = Field(default=0.995, ge=0, lt=1)
    """Share of the old value when weights are averaged after each step."""
    dtype: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "mixed_bfloat16"
    """Keras dtype policy; mixed_float16 scales the loss, weights are always float32."""
    seed: int = Field(default=0, ge=0)
    """Seed of initial weights, images, patches and the choice of held-out images."""
    validation: Validation = Validation()
    """When and on which patches the averaged weights are validated."""
    save_every: int = Field(default=200, ge=1)
    """Steps between two checkpoints."""

    @field_validator("family")
    @classmethod
    def _known(cls, family: str) -> str:
        return find_family(family).name

    @field_validator("architecture", mode="before")
    @classmethod
    def _complete(cls, given: Any, info: ValidationInfo) -> Any:
        """Fill what a table leaves out from the family's own, without dropout."""
        if "family" not in info.data:  # an unknown family has its own error
            return given
        kind = find_family(info.data["family"]).architecture
        default: dict[str, Any] = kind().to_dict()
        known = list(default)
        if "dropout" in default:
            default["dropout"] = 0.0
        values = {} if given is None else given
        if isinstance(values, kind):
            return values
        if not isinstance(values, dict):
            raise ValueError(f"expected a table of {', '.join(known)}, got {given!r}")
        for name in values:
            if name not in known:
                raise ValueError(
                    f"there is no {name!r}.{did_you_mean(name, known)} "
                    f"There are {', '.join(known)}"
                )
        try:
            return TypeAdapter(kind).validate_python({**default, **values})
        except ValidationError as error:
            raise ValueError("; ".join(map(_explain, error.errors()))) from error

    @field_validator("augmentation", mode="before")
    @classmethod
    def _usual(cls, given: Any, info: ValidationInfo) -> Any:
        """Fill what a table leaves out from the family's usual changes."""
        usual = DEFAULTS.get(info.data.get("family", ""), Augmentation())
        if given is None:
            return usual
        return {**usual.model_dump(), **given} if isinstance(given, dict) else given

    @field_validator("patch")
    @classmethod
    def _on_grid(cls, patch: int, info: ValidationInfo) -> int:
        grid = find_family(info.data["family"]).grid if "family" in info.data else 1
        if patch % grid:
            raise ValueError(f"expected a multiple of {grid}, the network's grid")
        return patch

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        for part in self.mixture:
            if part.size is not None and part.size < self.patch:
                raise ValueError(
                    f"images of {part.size} px are smaller than the patch of "
                    f"{self.patch} px: raise size or leave it out"
                )
        if self.validation.patience is not None and not self.validation.every:
            raise ValueError("patience needs validation: set validation.every above 0")
        if self.cross_entropy == self.maximum == 0:
            raise ValueError("cross_entropy or maximum must be above 0")
        return self

    @property
    def batch(self) -> int:
        """Patches in a batch."""
        return sum(part.patches for part in self.mixture)


def _explain(problem: Any) -> str:
    place = ".".join(map(str, problem["loc"]))
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def make_recipe(**values: Any) -> Recipe:
    """Return a checked recipe.

    Raises
    ------
    SettingsError
        A value is unfit, or a name is unknown.
    """
    return checked(Recipe, values)


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe from a TOML file.

    Paths of image folders and weights files are relative to the file's folder.

    Raises
    ------
    SettingsError
        The file does not exist or is not TOML, or a value is unfit.
    """
    path = Path(path)
    return make_recipe(**beside(read_toml(path), path.absolute().parent))


def recipe_text(recipe: Recipe) -> str:
    """Return the recipe as TOML; values of None are left out."""
    import tomli_w

    return tomli_w.dumps(recipe.model_dump(exclude_none=True, mode="json"))


def recipe_json(recipe: Recipe) -> str:
    """Return the recipe as one line of JSON, as stored with the weights."""
    return json.dumps(recipe.model_dump(mode="json"))


def beside(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a recipe's values with its paths relative to `folder`."""
    result = dict(values)
    start = result.get("start_from")
    if isinstance(start, str) and start not in shipped_models():
        result["start_from"] = str(folder / start)
    if isinstance(result.get("mixture"), list):
        result["mixture"] = [_beside(part, folder) for part in result["mixture"]]
    rating = result.get("rating")
    if isinstance(rating, dict) and isinstance(rating.get("cache"), str):
        result["rating"] = rating | {"cache": str(folder / rating["cache"])}
    return result


def _beside(part: Any, folder: Path) -> Any:
    source = part.get("source") if isinstance(part, dict) else None
    if not isinstance(source, str) or source in {
        *SIMULATORS,
        MOVIES,
        DYES,
        VOLUMES,
        NUCLEI,
        LADDERS,
    }:
        return part
    return part | {"source": str(folder / source)}
