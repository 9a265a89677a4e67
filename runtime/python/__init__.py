"""The native runtime and its thin Python face."""
