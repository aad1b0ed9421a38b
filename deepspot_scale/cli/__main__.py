"""The command as ``python -m deepspot_scale.cli``, where its script is not found."""

from deepspot_scale.cli import main

if __name__ == "__main__":
    main()
