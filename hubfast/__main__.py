"""`python -m hubfast`, which `torchrun -m hubfast` runs in each of its processes."""

from hubfast.cli import main

if __name__ == "__main__":
    main()
