"""The verb *measure polarity*."""
