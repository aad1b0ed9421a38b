"""The same order of stages, on one worker or as many blocks."""
