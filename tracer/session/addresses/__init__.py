# SPDX-License-Identifier: MIT
"""Names for addresses: what was mapped where and when, and which symbols it has."""
