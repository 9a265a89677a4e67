# SPDX-License-Identifier: MIT
"""Formats that other programs read: a file each, registered in `formats`."""
