"""The verb *detect*."""
