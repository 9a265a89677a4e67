# SPDX-License-Identifier: MIT
"""Why a slow call was slow: its excess over the usual, shared out to what was seen meanwhile."""
