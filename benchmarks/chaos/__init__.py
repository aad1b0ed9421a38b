"""Does a run survive anything? Kill workers, nannies, scheduler and client, 100 times.

    python -m benchmarks.chaos --out benchmarks/results/chaos.jsonl

A simulated plate of 200 fields is run once undisturbed and once on 4 worker processes
while this program kills processes with SIGKILL at random times (``--seed``) in the
midst of their work: reading, inferring or writing. Scheduler, nannies, workers and
client are processes of their own, and whatever died is started again, as a queue would,
by the same command. Reading, inference and writing take a fixed time (`paced`), which
keeps two cores free for what is tried here. The time between kills is drawn at random,
and its mean follows how far the run is, so that the kills are spread over all of it.

At the end the tables of both runs must be the same, byte for byte, but for seconds,
worker and the names of parts; every field must be there once; and fields that were done
in vain must be no more than those in flight at the kills.
"""
