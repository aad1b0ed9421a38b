"""Arrays in, arrays out: one block, one answer."""
