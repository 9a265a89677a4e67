# SPDX-License-Identifier: MIT
"""Keeps everything else off a session's CPUs, and gives back all that it changed."""
