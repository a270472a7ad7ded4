"""`python -m trio_chat` is the program `trio-chat`."""

import sys

from trio_chat.cli.main import main

sys.exit(main())
