"""Experts rate images on a page, and compare a network's scores with their own."""
