"""`python -m homeserver -c homeserver.yaml`: the server; other jobs are subcommands, see homeserver.cli."""

import sys

from homeserver.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
