"""The live page of a run on the scheduler's dashboard."""
