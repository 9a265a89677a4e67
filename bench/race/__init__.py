# SPDX-License-Identifier: MIT
"""Our table of stages against the same one of other libraries."""
