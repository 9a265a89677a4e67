# SPDX-License-Identifier: MIT
"""The memsc command: one file per sub-command."""
