"""From tables to statistics, figures and a page."""
