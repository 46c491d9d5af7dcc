"""The command line: `trocar`."""
