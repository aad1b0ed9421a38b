"""Found spots against true ones: matching, data sets, scores, tables, figures."""
