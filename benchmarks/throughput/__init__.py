"""How fast fields are processed, and the limits: ``python -m benchmarks.throughput``.

Plates are simulated, rows come out. Every command runs the product itself; stand-ins
replace the network or the detector to measure the rest alone.
"""
