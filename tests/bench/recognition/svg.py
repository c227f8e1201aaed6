"""A small drawing of curves, without a package for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 260  # px of a panel
LEFT, RIGHT, TOP, BOTTOM = 30, 20, 40, 40


@dataclass(frozen=True)
class Curve:
    name: str
    x: Sequence[float]
    y: Sequence[float]  # 0..1
    colour: str
    dashed: bool


@dataclass(frozen=True)
class Mark:
    """A line across the panel."""

    name: str
    x: float


@dataclass(frozen=True)
class Panel:
    title: str
    span: tuple[float, float]
    curves: Sequence[Curve]
    marks: Sequence[Mark]

    def px(self, x: float) -> float:
        low, high = self.span
        return LEFT + (x - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def drawing(panels: Sequence[Panel]) -> str:
    """The panels one below the other, on white, so that it can be read on any page."""
    height = HEIGHT * len(panels)
    parts = [f'<g transform="translate(0 {HEIGHT * at})">{_panel(panel)}</g>' for at, panel in enumerate(panels)]
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    return f'{opening}<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'


def _panel(panel: Panel) -> str:
    base = HEIGHT - BOTTOM
    axis = f'<path d="M{LEFT} {base}H{WIDTH - RIGHT}" stroke="#888"/>' + "".join(_tick(panel, at) for at in range(6))
    title = f'<text x="{LEFT}" y="16" font-weight="bold">{escape(panel.title)}</text>'
    label = f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">cosine of two faces</text>'
    curves = "".join(_curve(panel, curve, at) for at, curve in enumerate(panel.curves))
    return title + axis + label + "".join(_mark(panel, mark, at) for at, mark in enumerate(panel.marks)) + curves


def _tick(panel: Panel, at: int) -> str:
    low, high = panel.span
    x = low + (high - low) * at / 5
    return f'<text x="{panel.px(x):.0f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{x:.2f}</text>'


def _curve(panel: Panel, curve: Curve, at: int) -> str:
    base = HEIGHT - BOTTOM
    points = " ".join(f"{panel.px(x):.1f},{base - y * (base - TOP):.1f}" for x, y in zip(curve.x, curve.y, strict=True))
    dash = ' stroke-dasharray="4 3"' if curve.dashed else ""
    line = f'fill="none" stroke="{curve.colour}" stroke-width="1.5"{dash}'
    y = TOP + 14 * at
    key = f'<path d="M{LEFT + 6} {y}h22" {line}/><text x="{LEFT + 34}" y="{y + 4}">{escape(curve.name)}</text>'
    return f'<polyline points="{points}" {line}/>{key}'


def _mark(panel: Panel, mark: Mark, at: int) -> str:
    x = panel.px(mark.x)
    return (
        f'<path d="M{x:.1f} {TOP - 10}V{HEIGHT - BOTTOM}" stroke="#555" stroke-dasharray="1 3"/>'
        f'<text x="{x - 4:.1f}" y="{TOP - 12 + 12 * at}" text-anchor="end" fill="#555">{escape(mark.name)}</text>'
    )
