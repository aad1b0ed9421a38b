"""What groups of cells say, and how sure that is."""
