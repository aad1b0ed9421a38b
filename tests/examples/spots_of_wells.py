"""From a plate to a figure in ten lines, as in a notebook."""

import dask
import pandas as pd
import seaborn as sns

import deepspot_scale as ds

plate = ds.open_plate("PLATE.zarr")  # lazy: nothing is read yet
images = [plate[path]["image"].sel(c="FISH") for path in plate]
spots = [ds.detect(image.deepspot.enhance(), raw=image) for image in images]
table = pd.concat(dask.compute(*spots))  # the one line that reads and computes
table["well"] = table["row"] + table["column"]
sns.ecdfplot(table, x="snr", hue="well").figure.savefig("snr.svg")
