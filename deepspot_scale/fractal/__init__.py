"""A task of Fractal: spots and cells of one image, as tables in that image."""
