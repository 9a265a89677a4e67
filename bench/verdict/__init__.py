# SPDX-License-Identifier: MIT
"""What a benchmark's trace shows: its rows, targets held or missed, results beside the thesis's."""
