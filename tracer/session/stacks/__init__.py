# SPDX-License-Identifier: MIT
"""Names for the addresses of stacks: what was mapped where, and which symbols it has."""
