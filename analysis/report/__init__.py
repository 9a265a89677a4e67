# SPDX-License-Identifier: MIT
"""The report: as plain data, as text for a terminal, as one page."""
