import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.kernels.rings import rings_of
from deepspot_scale.vocabulary import N_RINGS

few = settings(max_examples=50, deadline=None)
distances = st.integers(0, 2**16 - 1)


@few
@given(distances, distances)
def test_a_ring_holds_the_share_of_the_way_that_it_stands_for(inner, outer):
    (ring,) = rings_of(np.array([inner], np.uint16), np.array([outer], np.uint16))
    share = inner / max(inner + outer, 1)
    assert ring == min(int(N_RINGS * share + 1e-9), N_RINGS - 1)


def test_the_border_of_the_nucleus_is_in_the_first_ring_and_the_edge_in_the_last():
    assert rings_of(np.array([0, 7]), np.array([7, 0])).tolist() == [0, N_RINGS - 1]
