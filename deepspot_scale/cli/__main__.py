"""``python -m deepspot_scale.cli``: the command, if its script is not on the PATH."""

from deepspot_scale.cli import main

if __name__ == "__main__":
    main()
