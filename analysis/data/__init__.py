# SPDX-License-Identifier: MIT
"""What every analysis is made of: calls streamed into sketches, selections, intervals, formats."""
