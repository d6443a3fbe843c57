"""The figure for a browser: one HTML file that needs nothing else, each bubble with its numbers; and the SVG alike."""

import re
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from convnext.figure1.bubbles import Bubble, Content, Panel
from convnext.figure1.draw import draw_panels, rendered, scales_of
from convnext.lab.canvas import FAINT, GREY, INK

TEMPLATE = "page.html.j2"
# The drawing's colours follow the page's, which are others in the dark.
_COLOURS = {INK: "var(--ink)", GREY: "var(--muted)", FAINT: "var(--line)", "#ffffff": "var(--page)"}


def html_page(content: Content) -> str:
    """Return the page: the panels with a tip on each bubble, below them the same numbers as tables."""
    environment = Environment(
        loader=PackageLoader("convnext", "figure1"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    panels = [
        {
            "name": panel.name,
            "title": panel.title,
            "measured": panel.measured,
            "timed": any(bubble.images_per_second is not None for bubble in panel.bubbles),
            "svg": _inline(with_titles(rendered(draw_panels([panel], [scale]), "svg").decode(), [panel]), panel),
            "rows": [_row(bubble) for bubble in panel.bubbles],
        }
        for panel, scale in zip(content.panels, scales_of(content.panels), strict=True)
    ]
    return environment.get_template(TEMPLATE).render(
        title="Figure 1 of “A ConvNet for the 2020s”, redrawn",
        intro=_intro(content),
        panels=panels,
        left_out=content.left_out,
    )


def with_titles(svg: str, panels: Sequence[Panel]) -> str:
    """Return an SVG of panels in which each bubble tells its numbers: to a pointer, and to who reads with ears."""
    for panel in panels:
        for number, bubble in enumerate(panel.bubbles, start=1):
            said = escape(tip(bubble))
            name = f"{panel.name}-{number}"
            opened = f'<g id="bubble-{name}" class="bubble" role="img" tabindex="0" aria-label="{said}">'
            svg = svg.replace(f'<g id="bubble-{name}">', f"{opened}<title>{said}</title>", 1)
            svg = svg.replace(f'<g id="label-{name}">', f'<g id="label-{name}" class="label"><title>{said}</title>', 1)
    return svg


def tip(bubble: Bubble) -> str:
    """Return a bubble's numbers in a line."""
    row = _row(bubble)
    speed = f", {row['speed']} images/s" if row["speed"] else ""
    seeds = f" of {bubble.seeds} seeds" if bubble.seeds is not None and bubble.seeds > 1 else ""
    return (
        f"{bubble.label}: {row['top1']}% top-1{seeds}, {row['gmacs']} GMACs, {row['params']} parameters{speed} "
        f"({bubble.source})"
    )


def _row(bubble: Bubble) -> dict[str, Any]:
    if bubble.seeds is None:
        top1 = f"{bubble.top1:.1f}"
    else:
        top1 = f"{bubble.top1:.2f}" + ("" if bubble.std is None else f" ± {bubble.std:.2f}")
    return {
        "label": bubble.label,
        "family": bubble.family.name,
        "kind": bubble.family.kind,
        "colour": bubble.family.colour,
        "size": bubble.size,
        "params": f"{bubble.params / 1e6:.4g}M",
        "gmacs": _cost_text(bubble.gmacs),
        "top1": top1,
        "seeds": bubble.seeds,
        "speed": "" if bubble.images_per_second is None else f"{bubble.images_per_second:,.1f}",
        "source": bubble.source,
    }


def _cost_text(gmacs: float) -> str:
    # As the paper prints it, or as counting gives it.
    return f"{gmacs:.1f}" if gmacs == round(gmacs, 1) else f"{gmacs:.4g}"


def _intro(content: Content) -> str:
    sentences = ["Area is proportional to multiply-adds (GMACs, what the paper calls FLOPs)."]
    if any(not panel.measured for panel in content.panels):
        sentences.append("Top-1 on ImageNet-1K is the paper's (Tables 1 and 2), not measured here.")
    if any(panel.measured for panel in content.panels):
        sentences.append(
            "Measured top-1 is the mean of the seeds on held-out pictures after the last epoch, the thin line ± one "
            "standard deviation; each data set has a scale of its own."
        )
    sentences.append("Point at a bubble, tap it or go to it with the Tab key for its numbers.")
    return " ".join(sentences)


def _inline(svg: str, panel: Panel) -> Markup:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Ids of their own: several drawings stand on the page.
    svg = re.sub(r'(\bid="|href="#|url\(#)(?!bubble-|label-)', rf"\g<1>{panel.name}-", svg)
    # A shape is defined once for all bubbles that have it; the rim is each one's own, and another where it is chosen.
    svg = re.sub(r'(<path id="[^"]*" d="[^"]*") style="stroke: #ffffff[^"]*"', r"\1", svg)
    head, rest = svg.split(">", 1)
    head = re.sub(r'\s(?:width|height|xmlns(?::xlink)?|version)="[^"]*"', "", head)
    head += f' role="group" aria-label="{escape(panel.title)}"'
    for colour, variable in _COLOURS.items():
        rest = re.sub(rf"(fill|stroke): {colour}", rf"\1: {variable}", rest, flags=re.IGNORECASE)
    # In HTML a link inside a picture needs no namespace.
    return Markup(head + ">" + rest.replace("xlink:href", "href"))
