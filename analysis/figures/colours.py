# SPDX-License-Identifier: MIT
"""Colours of stages, and of what is written on them: for figures of any kind."""

# Okabe and Ito's palette; stages from what is spent on the way to what is the work itself.
STAGE_COLOURS = {
    "post": "#56B4E9",
    "poll": "#E69F00",
    "execute": "#009E73",
    "complete": "#CC79A7",
}
# Not black: a page gives black text its own colour, which is white in the dark.
ON_COLOUR = "#101010"
