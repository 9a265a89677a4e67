# SPDX-License-Identifier: MIT
"""Flame graphs as SVG: self-contained, without script, the same every time.

Wide is what took long; above a frame stands what it is made of. Hovering names a frame in full. A
differential one is as wide as the new side, and coloured by how much longer or shorter each frame
took than in the base.
"""

from __future__ import annotations

import html
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from memsc.analysis.figures.colours import ON_COLOUR, STAGE_COLOURS

Stack = tuple[str, ...]

WIDTH = 1200.0
NARROWEST = 0.6
"""Frames of fewer pixels are not drawn: nobody sees them, and a page must not grow with them."""
SHORTER, LONGER, SAME = (0x43, 0x93, 0xC3), (0xE6, 0x9F, 0x00), (0xEC, 0xEC, 0xEA)

_ROW, _LETTER, _EDGE, _HEAD = 19.0, 6.95, 10.0, 46.0
_LIGHT, _WARM = (0xF4, 0xEC, 0xD2), (0xDD, 0xCB, 0x93)
# What XML cannot say, not even escaped.
_UNSAYABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_OWN_COLOURS = """
.flame { --ink: #1c1c1e; --dim: #63636a; --paper: #fdfdfc; background: var(--paper); }
@media screen and (prefers-color-scheme: dark) {
  .flame { --ink: #ececee; --dim: #a2a2aa; --paper: #17171a; }
}"""
_STYLE = f"""
.flame text {{ font: 11.5px ui-monospace, Menlo, Consolas, monospace; }}
.flame text {{ fill: {ON_COLOUR}; pointer-events: none; }}
.flame .title {{ font: 600 15px system-ui, sans-serif; fill: var(--ink); }}
.flame .note {{ font: 12px system-ui, sans-serif; fill: var(--dim); }}
.flame rect {{ stroke: var(--paper); stroke-width: 0.6; }}
.flame rect:hover {{ stroke: var(--ink); }}
"""


@dataclass(slots=True)
class _Frame:
    weight: float = 0.0
    base: float = 0.0
    inner: dict[str, _Frame] = field(default_factory=dict["str", "_Frame"])

    def add(self, stack: Stack, weight: float, base: float) -> None:
        frame = self
        frame.weight, frame.base = frame.weight + weight, frame.base + base
        for name in stack:
            frame = frame.inner.setdefault(name, _Frame())
            frame.weight, frame.base = frame.weight + weight, frame.base + base

    def depth(self, width: float) -> int:
        """Rows of what is drawn of a frame of so many pixels."""
        widths = (
            (frame, width * frame.weight / self.weight if self.weight else 0.0)
            for frame in self.inner.values()
        )
        drawn = (frame.depth(mine) for frame, mine in widths if mine >= NARROWEST)
        return 1 + max(drawn, default=0)


def flame_svg(
    stacks: Mapping[Stack, float],
    title: str,
    says: Callable[[float], str],
    *,
    base: Mapping[Stack, float] | None = None,
    note: str = "",
    order: Sequence[str] = (),
    standalone: bool = True,
    width: float = WIDTH,
) -> str:
    """Draws stacks, outermost frame first.

    Args:
        stacks: weights by stack.
        title: stands above.
        says: a weight in words.
        base: weights of the side it is compared with, in the same unit.
        note: stands beside the title.
        order: frames of these names stand side by side in this order, others by weight.
        standalone: a file; else it stands in a page that has the colours `--ink`, `--dim`
            and `--paper`.
        width: pixels.
    """
    root = _Frame()
    # A frame's place must not depend on the order that stacks came in.
    before: Mapping[Stack, float] = base if base is not None else {}
    every: set[Stack] = {*stacks, *before}
    for stack in sorted(every):
        root.add(stack, stacks.get(stack, 0), before.get(stack, 0))
    ranks = {name: rank for rank, name in enumerate(order)}
    drawing = _Drawing(says, ranks, root, base is not None)
    rows = root.depth(width - 2 * _EDGE)
    height = _HEAD + rows * _ROW + _EDGE
    drawing.frame(("all",), root, _EDGE, height - _EDGE - _ROW, width - 2 * _EDGE)
    style = f"<style>{_OWN_COLOURS if standalone else ''}{_STYLE}</style>"
    space = ' xmlns="http://www.w3.org/2000/svg"' if standalone else ""
    head = f'<svg class="flame"{space} viewBox="0 0 {width:g} {height:g}" role="img">'
    words = f'<text class="title" x="{_EDGE:g}" y="18">{said(title)}</text>'
    words += f'<text class="note" x="{_EDGE:g}" y="35">{said(note)}</text>' if note else ""
    return "\n".join([f"{head}{style}<title>{said(title)}</title>", words, *drawing.out, "</svg>"])


@dataclass(slots=True)
class _Drawing:
    says: Callable[[float], str]
    ranks: Mapping[str, int]
    root: _Frame
    differs: bool
    out: list[str] = field(default_factory=list[str])

    def frame(self, path: Stack, frame: _Frame, x: float, y: float, width: float) -> None:
        """Draws a frame and all that stands on it."""
        name = path[-1]
        share = frame.weight / self.root.weight if self.root.weight else 0.0
        words = f"{';'.join(path[1:]) or name}: {self.says(frame.weight)}, {100 * share:.3g} %"
        if self.differs:
            change = frame.weight - frame.base
            sign = "+" if change >= 0 else "−"
            words += f"; base {self.says(frame.base)}, {sign}{self.says(abs(change))}"
        fits = int((width - 6) / _LETTER)
        shown = name if len(name) <= fits else f"{name[: fits - 1]}…" if fits > 2 else ""
        text = (
            f'<text x="{x + 3:.1f}" y="{y + 13:.1f}">{said(shown)}</text>' if shown.strip() else ""
        )
        self.out.append(
            f'<g><title>{said(words)}</title><rect x="{x:.2f}" y="{y:.1f}" width="{width:.2f}" '
            f'height="{_ROW - 1:g}" fill="{self.colour(path, frame)}"/>{text}</g>'
        )
        for inner, child in sorted(frame.inner.items(), key=self.place):
            mine = width * child.weight / frame.weight if frame.weight else 0.0
            if mine >= NARROWEST:
                self.frame((*path, inner), child, x, y - _ROW, mine)
            x += mine

    def place(self, item: tuple[str, _Frame]) -> tuple[float, float, str]:
        """Where a frame stands among its siblings."""
        name, frame = item
        return self.ranks.get(name, len(self.ranks)), -frame.weight, name

    def colour(self, path: Stack, frame: _Frame) -> str:
        """Differences by sign and size, stages by their colour, anything else by its name."""
        if self.differs:
            most = max(abs(self.root.weight - self.root.base), self.root.weight / 10, 1e-12)
            change = (frame.weight - frame.base) / most
            # By the root: small differences are to be seen beside large ones.
            return _mix(SAME, LONGER if change > 0 else SHORTER, min(abs(change), 1.0) ** 0.5)
        if path[-1] in STAGE_COLOURS:
            return STAGE_COLOURS[path[-1]]
        return _mix(_LIGHT, _WARM, zlib.crc32(path[-1].encode()) / 2**32)


def said(text: str) -> str:
    """Text as XML can say it."""
    return html.escape(_UNSAYABLE.sub("\ufffd", text))


def _mix(a: tuple[int, ...], b: tuple[int, ...], part: float) -> str:
    mixed = (round(x + (y - x) * part) for x, y in zip(a, b, strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)
