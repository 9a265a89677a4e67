# SPDX-License-Identifier: MIT
"""What a history of traces shows: each metric by date and version, and the steps in it."""
