"""The program `trio-chat`: one module a subcommand; each imports what it needs when it runs."""
