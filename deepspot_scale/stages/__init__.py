"""One verb each: enhance, detect, assign, measure polarity."""
