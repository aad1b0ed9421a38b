"""A segmenter of one's own: a function from image to labels, checked."""

from scipy import ndimage

import deepspot_scale as ds
from deepspot_scale.testing import check_segmenter


def bright(image):
    return ndimage.label(ndimage.gaussian_filter(image, 2, truncate=3) > 0.3)[0]


nuclei = ds.Segmenter(bright, largest=80, reach=6)

if __name__ == "__main__":
    check_segmenter(nuclei)
