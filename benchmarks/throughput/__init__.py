"""How fast fields go through, and what keeps them: ``python -m benchmarks.throughput``.

Plates are simulated, rows come out. Every command runs the product itself; stand-ins
replace the network or the detector where the rest is to be seen alone.
"""
