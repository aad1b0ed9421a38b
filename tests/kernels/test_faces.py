import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deepspot_scale.kernels.faces import count_faces

labels = st.one_of(st.integers(0, 3), st.just(1 << 40))
stacks = hnp.arrays(np.int64, hnp.array_shapes(min_dims=3, max_dims=3), elements=labels)


@given(stacks, st.integers(0, 2))
def test_faces_are_those_of_a_loop_over_voxels(stack, axis):
    n = stack.shape[axis]
    one, other = (
        np.moveaxis(stack, axis, 0)[part] for part in (slice(n - 1), slice(1, n))
    )
    faces, contact = {}, {}
    for a, b in zip(one.ravel().tolist(), other.ravel().tolist(), strict=True):
        for label in {a, b} - {0} if a != b else ():
            faces[label] = faces.get(label, 0) + 1
            contact[label] = contact.get(label, 0) + (a > 0 and b > 0)
    found = count_faces(one, other)
    assert found.labels.tolist() == sorted(faces)
    assert found.sums.tolist() == [[faces[n], contact[n]] for n in sorted(faces)]


def test_labels_of_any_dtype_are_counted():
    for dtype in (np.uint8, np.uint64, np.int32):
        pair = np.array([[2, 0, 5], [2, 7, 7]], dtype)
        found = count_faces(*pair)
        assert found.labels.tolist() == [5, 7]
        assert found.sums.tolist() == [[1, 1], [2, 1]]
        assert found.labels.dtype == np.int64
