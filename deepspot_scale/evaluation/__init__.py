"""Found against true: matching, data sets, scores, tables, figures."""
