"""`python -m carry` equals `carry`."""

from carry.cli.main import main

if __name__ == "__main__":
    main()
