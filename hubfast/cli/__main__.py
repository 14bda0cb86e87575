"""`python -m hubfast.cli`."""

from hubfast.cli import main

main()
