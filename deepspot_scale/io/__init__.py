"""Reading and writing plates, images and tables."""
