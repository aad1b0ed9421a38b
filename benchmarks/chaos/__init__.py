"""Does a run survive anything? Kill workers, nannies, scheduler and client, 100 times.

    python -m benchmarks.chaos --out benchmarks/results/chaos.jsonl

A simulated plate of 200 fields is run twice on 4 worker processes: once undisturbed,
and once while this program kills processes with SIGKILL at random times (``--seed``)
during their work: reading, inference or writing. Scheduler, nannies, workers and client
are separate processes; a killed one is restarted by the same command, as by a queue.
Reading, inference and writing take a fixed time (`paced`), so that two cores suffice.
The time between kills is random; its mean follows the progress of the run, so that the
kills are spread over all of it.

At the end the tables of both runs must be equal, byte for byte, except for seconds,
worker and the names of parts; every field must be there once; and the number of fields
done in vain must not exceed the number of fields in flight at the kills.
"""
