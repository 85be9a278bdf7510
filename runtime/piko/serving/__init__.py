"""The HTTP server of a program that does something else: small, bounded, and off its event loop."""
