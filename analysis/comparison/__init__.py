# SPDX-License-Identifier: MIT
"""Two traces against each other."""
