"""What comes of odd plates, user tables, stores and hostile files?

    python -m benchmarks.robustness --out benchmarks/results/robustness.jsonl

Some hundreds of small inputs are made and given to the product in this process, without
a network: by `deepspot_scale.run`, other verbs, or the command's own entry. Each input
says what must come of it before it is tried: the right numbers, a refusal in words, or
the right numbers and a warning that counts. What comes instead is named. An error that
is none of ours counts as wrong, whatever its words.

Hostile files are harmless stand-ins: a program that would be run leaves a mark in the
input's own folder, and what would fill the memory is a few megabytes.
"""
