"""A run as one page: tables in, words, figures and HTML out."""
