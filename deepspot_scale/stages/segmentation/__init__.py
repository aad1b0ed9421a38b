"""The stage *segment*: labels of nuclei and cells, made in the run."""
