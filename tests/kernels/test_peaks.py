import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from deepspot_scale.kernels.peaks import (
    RING_REACH,
    climb,
    connect,
    count_near,
    highest_near,
    photometry,
    refine,
)
from deepspot_scale.simulation import render_spots

few = settings(max_examples=50, deadline=None)
shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14)
EIGHT = np.ones((3, 3))


@st.composite
def masks_and_responses(draw):
    """A random mask and a response with many equal values."""
    shape = draw(shapes)
    mask = draw(hnp.arrays(bool, shape))
    response = draw(hnp.arrays(np.float32, shape, elements=st.integers(-2, 4)))
    return mask, response


def slow_climb(mask, response):
    """Let each pixel climb by itself; equal values are ordered by raster."""

    def above(pixel):
        y, x = pixel
        near = [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        inside = [p for p in near if p in rank]
        return max(inside, key=rank.get)

    rank = {
        (int(y), int(x)): (float(response[y, x]), int(y), int(x))
        for y, x in np.argwhere(mask)
    }
    objects = {}
    for pixel in rank:
        summit = pixel
        while above(summit) != summit:
            summit = above(summit)
        objects.setdefault(summit, []).append(pixel)
    return {
        peak: (len(pixels), int(np.abs(np.subtract(pixels, peak)).max()))
        for peak, pixels in objects.items()
    }


def as_dict(objects):
    places = zip(objects.y.tolist(), objects.x.tolist(), strict=True)
    numbers = zip(objects.area.tolist(), objects.extent.tolist(), strict=True)
    return dict(zip(places, numbers, strict=True))


@few
@given(masks_and_responses())
def test_every_pixel_belongs_to_the_peak_it_climbs_to(given_):
    mask, response = given_
    found = climb(mask, response)
    assert as_dict(found) == slow_climb(mask, response)
    assert found.area.sum() == mask.sum()


@few
@given(masks_and_responses())
def test_components_are_those_of_scipy(given_):
    mask, response = given_
    weight = np.maximum(response, 0)
    spots = climb(mask, response)
    found = connect(mask, weight, spots)
    labels, n = ndimage.label(mask, EIGHT)
    numbers = np.arange(1, n + 1)
    centres = np.reshape(ndimage.center_of_mass(weight + 1, labels, numbers), (-1, 2))
    boxes = ndimage.find_objects(labels)
    expected = sorted(
        (
            *np.round(centre, 9),
            int((labels == number).sum()),
            max(cut.stop - cut.start for cut in box) - 1,
        )
        for number, centre, box in zip(numbers, centres, boxes, strict=True)
    )
    got = zip(
        *(np.round(place, 9) for place in (found.y, found.x)),
        found.area,
        found.extent,
        strict=True,
    )
    assert sorted(got) == expected
    # The component of a peak is the one that holds it.
    owner = labels[spots.y, spots.x]
    np.testing.assert_array_equal(
        found.area[found.of_peak], [(labels == number).sum() for number in owner]
    )


@few
@given(masks_and_responses(), st.data())
def test_highest_pixels_are_those_of_a_loop(given_, data):
    taken, response = given_
    distance = data.draw(st.integers(1, 4))
    y, x = np.nonzero(data.draw(hnp.arrays(bool, response.shape)))
    place = np.arange(response.size).reshape(response.shape)

    def near(image, row, column):
        top, left = max(0, row - distance), max(0, column - distance)
        return image[top : row + distance + 1, left : column + distance + 1].ravel()

    def is_highest(row, column):
        values, at = near(response, row, column), near(place, row, column)
        order = list(zip(values, at, strict=True))
        alone = not near(taken, row, column).any()
        return alone and max(order)[1] == place[row, column]

    expected = [(r, c) for r, c in zip(y, x, strict=True) if is_highest(r, c)]
    got = highest_near(response, taken, y, x, distance)
    assert list(zip(*got, strict=True)) == expected
    counted = [near(taken, r, c).sum() for r, c in zip(y, x, strict=True)]
    np.testing.assert_array_equal(count_near(taken, y, x, distance), counted)


def test_the_origin_of_a_window_shows_in_no_bit_of_a_place():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 4000, (60, 70)).astype(np.uint16)
    y, x = rng.integers(20, 40, (2, 200))
    mask = rng.random(image.shape) < 0.2
    mask[:22] = mask[38:] = mask[:, :22] = mask[:, 48:] = False
    weight = image.astype(np.float32)
    whole = refine(image, y, x)
    regions = connect(mask, weight, climb(mask, weight))
    centres = set(zip(regions.y, regions.x, strict=True))
    for top, left in ((1, 2), (7, 3), (11, 11)):
        cut, origin = np.s_[top:, left:], (top, left)
        np.testing.assert_array_equal(
            refine(image[cut], y - top, x - left, origin), whole
        )
        peaks = climb(mask[cut], weight[cut])
        piece = connect(mask[cut], weight[cut], peaks, origin)
        assert set(zip(piece.y, piece.x, strict=True)) == centres


def slow_photometry(image, y, x, least_noise):
    """One spot after the other, the border repeated, the ring widened by the rule."""
    pad = RING_REACH
    padded = np.pad(image.astype(np.float64), pad, mode="edge")
    dy, dx = np.mgrid[-pad : pad + 1, -pad : pad + 1]
    distance = np.hypot(dy, dx)
    flank = (distance >= 2.2) & (distance <= 3.7)
    narrowest = np.argwhere((distance >= 4.5) & (distance <= 6.2)) - pad

    away = np.hypot(*narrowest.T)
    limits = away.min(), away.max()

    def ground(window, inner, outer):
        far = np.interp(away, limits, [inner, outer])
        at = np.rint(narrowest * (far / away)[:, None]).astype(int) + pad
        ring = window[at[:, 0], at[:, 1]]
        background = np.median(ring)
        noise = 1.4826 * np.median(np.abs(ring - background))
        return background, max(noise, least_noise)

    answer = []
    for row, column in zip(y, x, strict=True):
        window = padded[row : row + 2 * pad + 1, column : column + 2 * pad + 1]
        middle = window[pad - 1 : pad + 2, pad - 1 : pad + 2].mean()
        background, noise = ground(window, *limits)
        for share, inner, outer in ((0.19, 7, 9), (0.42, 12, 14.3)):
            light = np.median(window[flank]) - background
            if light > share * (middle - background) and light > 0.85 * noise:
                wider = ground(window, inner, outer)
                if wider[1] <= 1.5 * noise:
                    background, noise = wider
        intensity = middle - background
        answer.append((intensity, intensity / noise))
    return np.array(answer).T


@few
@given(hnp.arrays(np.uint16, shapes), st.data())
def test_photometry_is_that_of_a_loop_over_spots(image, data):
    places = st.tuples(*(st.integers(0, n - 1) for n in image.shape))
    y, x = np.array(data.draw(st.lists(places, min_size=1, max_size=5))).T
    got = photometry(image, y, x, least_noise=0.3)
    np.testing.assert_allclose(got, slow_photometry(image, y, x, 0.3), rtol=1e-9)


def test_companions_do_not_change_a_spot():
    rng = np.random.default_rng(1)
    image = rng.normal(100, 10, (40, 40))
    y, x = rng.integers(0, 40, (2, 50))
    together = *refine(image, y, x), *photometry(image, y, x, least_noise=0.3)
    for i in range(50):
        one = y[i : i + 1], x[i : i + 1]
        alone = *refine(image, *one), *photometry(image, *one, least_noise=0.3)
        assert [float(a[0]) for a in alone] == [float(t[i]) for t in together]


def test_positions_of_clean_spots_are_good_to_a_twentieth_of_a_pixel():
    rng = np.random.default_rng(2)
    rows, columns = np.mgrid[15:286:15, 15:286:15]
    points = np.stack([rows.ravel(), columns.ravel()], axis=1) + rng.uniform(
        -0.5, 0.5, (rows.size, 2)
    )
    sigmas = rng.uniform(0.8, 2.5, len(points))
    image = 100 + render_spots((301, 301), points, np.full(len(points), 500.0), sigmas)
    # Where the network is one pixel off, the raw image mends it.
    y, x = (np.rint(points) + rng.integers(-1, 2, points.shape)).astype(int).T
    error = np.stack(refine(image, y, x), axis=1) - points
    assert np.sqrt((error**2).mean()) < 0.05


def test_intensity_of_a_spot_on_even_ground_is_its_mean_over_nine_pixels():
    spot = render_spots((31, 31), np.array([[15.0, 15.0]]), np.array([500.0]), [1.0])
    image = 100 + spot
    at = np.array([15])
    intensity, snr = photometry(image, at, at, least_noise=2.0)
    assert intensity[0] == pytest.approx(spot[14:17, 14:17].mean(), rel=1e-3)
    assert snr[0] == pytest.approx(intensity[0] / 2.0)


@pytest.mark.parametrize("sigma", [0.8, 1.0, 1.5, 1.8, 2.2, 2.5, 3.0, 3.2, 3.5])
@pytest.mark.parametrize("height", [200.0, 1000.0, 5000.0])
def test_intensity_and_snr_hold_for_spots_of_all_widths_to_3_5_px(sigma, height):
    rng = np.random.default_rng(4)
    places = np.stack(np.meshgrid(np.arange(20, 400, 40), np.arange(20, 400, 40)), -1)
    points = places.reshape(-1, 2) + rng.uniform(-0.5, 0.5, (100, 2))
    light = render_spots((400, 400), points, np.full(100, height), np.full(100, sigma))
    image = light + rng.normal(200, 20, light.shape)
    y, x = np.rint(points).astype(int).T
    true = ndimage.uniform_filter(light, 3)[y, x]
    intensity, snr = photometry(image, y, x, least_noise=0.3)
    assert np.median(intensity / true) == pytest.approx(1, abs=0.02)
    assert np.median(snr / (true / 20)) == pytest.approx(1, abs=0.1)


def test_narrow_spots_keep_the_narrow_ring():
    rng = np.random.default_rng(5)
    places = np.stack(np.meshgrid(np.arange(10, 400, 16), np.arange(10, 400, 16)), -1)
    points = places.reshape(-1, 2) + rng.uniform(-0.5, 0.5, (625, 2))
    light = render_spots((410, 410), points, np.full(625, 1000.0), np.full(625, 1.2))
    image = light + rng.normal(200, 20, light.shape)
    y, x = np.rint(points).astype(int).T
    side = np.arange(-6, 7)
    dy, dx = (each.ravel() for each in np.meshgrid(side, side, indexing="ij"))
    ring = (dy**2 + dx**2 >= 4.5**2) & (dy**2 + dx**2 <= 6.2**2)
    rows, columns = y + dy[ring][:, None], x + dx[ring][:, None]
    inner = (y > 6) & (x > 6) & (y < 403) & (x < 403)
    background = np.median(image[rows[:, inner], columns[:, inner]], axis=0)
    middle = ndimage.uniform_filter(image, 3)[y, x][inner]
    intensity, _ = photometry(image, y, x, least_noise=0.3)
    np.testing.assert_allclose(intensity[inner], middle - background, rtol=1e-9)


def test_a_ring_full_of_other_spots_is_not_taken():
    # Spots of 2.5 px on a grid of 12 px: ring three lies on the eight neighbours.
    rng = np.random.default_rng(6)
    places = np.stack(np.meshgrid(np.arange(6, 300, 12), np.arange(6, 300, 12)), -1)
    points = places.reshape(-1, 2).astype(float)
    n = len(points)
    light = render_spots((306, 306), points, np.full(n, 1000.0), np.full(n, 2.5))
    image = light + rng.normal(200, 20, light.shape)
    inner = ((points > 40) & (points < 260)).all(axis=1)
    y, x = points[inner].astype(int).T
    intensity, snr = photometry(image, y, x, least_noise=0.3)
    assert np.median(intensity) > 0.8 * 890
    assert np.median(snr) > 0.35 * 890 / 20


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (20, 20)])
def test_a_flat_image_has_places_and_no_light(shape):
    image = np.full(shape, 65535, np.uint16)
    y, x = (np.array([n // 2]) for n in shape)
    at_y, at_x = refine(image, y, x)
    assert (at_y[0], at_x[0]) == (y[0], x[0])
    np.testing.assert_array_equal(photometry(image, y, x, least_noise=0.3), 0)


def test_no_spots_give_empty_answers():
    none = np.zeros(0, np.int64)
    image = np.zeros((3, 5))
    empty = climb(image > 0, image.astype(np.float32))
    assert empty.y.size == 0
    assert connect(image > 0, image.astype(np.float32), empty).y.size == 0
    assert refine(image, none, none)[0].size == 0
    assert photometry(image, none, none, least_noise=1.0)[0].size == 0
