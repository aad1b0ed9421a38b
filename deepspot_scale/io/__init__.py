"""Plates and tables, in and out."""
