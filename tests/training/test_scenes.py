import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.errors import FieldError, PlateError, SettingsError
from deepspot_scale.io.image_files.annotated_images import read_annotated
from deepspot_scale.kernels.normalisation import quantile_scale
from deepspot_scale.simulation.stacks import StackKind
from deepspot_scale.training.image_sets import write_simulated_stacks
from deepspot_scale.training.patches import stamp_target
from deepspot_scale.training.recipe import make_recipe
from deepspot_scale.training.scenes import (
    Annotated,
    Simulated,
    mirror_up,
    open_annotated,
    open_sources,
)


def annotated(recipe):
    return open_sources(recipe).learn[0]


def recipe_of(folder, **values):
    mixture = [{"source": str(folder), "patches": 3}]
    return make_recipe(**{"mixture": mixture, "patch": 16, **values})


def test_a_simulated_image_has_as_many_spots_as_asked_for():
    rng = np.random.default_rng(0)
    source = Simulated("var", spots=(3, 5), size=32)
    numbers = {len(source.draw(rng).points) for _ in range(20)}
    assert numbers == {3, 4, 5}


def test_grains_are_spots_only_for_a_recipe_that_says_so():
    mixture = {"source": "broad", "patches": 1, "cuts": 7, "size": 256}
    plain, dots = (
        open_sources(make_recipe(mixture=[mixture | more], patch=128)).learn[0]
        for more in ({}, {"grains": True})
    )
    assert plain.cuts == dots.cuts == 7
    numbers = []
    for seed in range(40):
        pair = [s.draw(np.random.default_rng(seed)).points for s in (plain, dots)]
        np.testing.assert_array_equal(pair[0], pair[1][: len(pair[0])])
        numbers.append(len(pair[1]) - len(pair[0]))
    assert max(numbers) > 0
    assert numbers.count(0) > 20


def test_an_annotated_image_comes_with_its_points_and_its_own_scale(annotated_folder):
    source = annotated(recipe_of(annotated_folder("real", [(40, 24)] * 3)))
    scene = source.draw(np.random.default_rng(0))
    assert scene.image.shape == (40, 24)
    rows, columns = scene.points.astype(int).T
    assert (scene.image[rows, columns] == 1000).all()
    assert scene.scale == quantile_scale(scene.image)


def test_held_out_images_are_learnt_from_by_no_patch(annotated_folder):
    folder = annotated_folder("real", [(20, 20)] * 10)
    sources = open_sources(recipe_of(folder, validation={"held_out": 0.3}))
    learn, held = sources.learn[0].images, sources.validate[0].images
    assert len(learn) == 7
    assert len(held) == 3
    assert not {image.name for image in learn} & {image.name for image in held}
    names = {image.name for image in read_annotated(folder).images}
    assert {image.name for image in (*learn, *held)} == names
    lines = sources.split.splitlines()
    assert lines[0] == "source,image,use"
    assert sorted(line.split(",")[2] for line in lines[1:]) == (
        ["learn"] * 7 + ["validate"] * 3
    )


def test_the_seed_alone_decides_which_images_are_held_out(annotated_folder):
    folder = annotated_folder("real", [(20, 20)] * 10)
    splits = [
        open_sources(recipe_of(folder, seed=seed, steps=steps)).split
        for seed, steps in ((0, 5), (0, 9), (1, 5), (2, 5))
    ]
    assert splits[0] == splits[1]
    assert len(set(splits)) > 1


def test_without_validation_no_image_is_held_out(annotated_folder):
    folder = annotated_folder("real", [(20, 20)])
    sources = open_sources(recipe_of(folder, validation={"every": 0}))
    assert sources.validate == (None,)
    assert len(sources.learn[0].images) == 1


def test_an_only_image_can_not_be_held_out(annotated_folder):
    folder = annotated_folder("real", [(20, 20)])
    with pytest.raises(SettingsError, match="only image"):
        open_sources(recipe_of(folder))


def test_nothing_to_validate_on_is_an_error(annotated_folder):
    folder = annotated_folder("real", [(20, 20)] * 2)
    with pytest.raises(SettingsError, match="nothing to validate on"):
        open_sources(recipe_of(folder, validation={"held_out": 0}))


def test_a_misspelt_set_is_an_error_that_names_the_nearest():
    with pytest.raises(SettingsError, match="Did you mean 'broad'"):
        open_sources(recipe_of("brod"))


def test_a_folder_without_a_table_of_points_is_refused(tmp_path):
    with pytest.raises(PlateError, match=r"spots\.csv"):
        open_sources(recipe_of(tmp_path))


def test_images_are_kept_while_there_is_room_and_drawn_alike_without(annotated_folder):
    folder = annotated_folder("real", [(20, 20)] * 4)
    images = read_annotated(folder).images
    one = images[0].read().nbytes
    kept = open_annotated(images, 16)
    some = open_annotated(images, 16, room=2 * one)
    assert [sorted(source.kept) for source in (kept, some)] == [[0, 1, 2, 3], [0, 1]]
    for seed in range(8):
        a, b = (each.draw(np.random.default_rng(seed)) for each in (kept, some))
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.points, b.points)
        assert a.scale == b.scale


def test_pixels_that_are_no_numbers_are_refused(tmp_path):
    import tifffile

    image = np.ones((20, 20), np.float32)
    image[3, 3] = np.nan
    tifffile.imwrite(tmp_path / "im.tif", image)
    (tmp_path / "spots.csv").write_text("image,y,x\nim.tif,1,1\n")
    with pytest.raises(FieldError, match="not finite numbers"):
        open_annotated(read_annotated(tmp_path).images, 16)


def test_every_image_is_as_likely_as_another(annotated_folder):
    source = annotated(recipe_of(annotated_folder("real", [(18, 18)] * 4)))
    assert isinstance(source, Annotated)
    rng = np.random.default_rng(0)
    drawn = [source.draw(rng).points.tobytes() for _ in range(300)]
    counts = np.unique(drawn, return_counts=True)[1]
    assert len(counts) == 4 - 1  # one is held out
    assert counts.min() > 60


@settings(max_examples=50, deadline=None)
@given(
    shape=st.tuples(st.integers(3, 12), st.integers(3, 12)),
    edge=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_a_mirrored_image_has_its_spots_where_their_light_is(shape, edge, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=shape)
    points = rng.integers(0, shape, (3, 2)).astype(float)
    larger, all_points = mirror_up(image, points, edge)
    assert larger.shape == tuple(max(length, edge) for length in shape)
    np.testing.assert_array_equal(larger[: shape[0], : shape[1]], image)
    marked, found = ({tuple(point) for point in each} for each in (points, all_points))
    for place in np.ndindex(larger.shape):
        # The place in the image that a mirror at its far ends shows here.
        source = tuple(
            k % n if k // n % 2 == 0 else n - 1 - k % n
            for k, n in zip(place, shape, strict=True)
        )
        assert larger[place] == image[source]
        assert (place in found) == (source in marked)
    assert stamp_target(all_points, larger.shape).any()


def test_stacks_are_no_images_to_learn_from(tmp_path):
    kind = StackKind((4, 32, 32), spots=3)
    folder = write_simulated_stacks(tmp_path / "stacks", kind, images=2)
    with pytest.raises(SettingsError, match=r"is a stack, since spots\.csv has z"):
        open_sources(recipe_of(folder))
