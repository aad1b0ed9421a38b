"""A run as it can be watched on the scheduler's dashboard: knows no network."""
