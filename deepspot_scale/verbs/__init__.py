"""The public verbs: stages of the pipeline, run on DataArrays and tables.

Each verb chooses stages, hands them labelled arrays, and gets tables or arrays back,
lazy where an input is. None has an order of its own: order, halos and blocks are those
that `blockwise.planning` derives, in a run as here.
"""
