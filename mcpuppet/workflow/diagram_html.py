"""A picture as one self-contained page: the SVG, a switch for its colours, the policies as a table.

Nothing is loaded from anywhere and there is no script: the switch is made of radio buttons and
style rules. The page's own security policy allows its one style sheet, by hash, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

from mcpuppet.workflow.definition import Definition, Policy
from mcpuppet.workflow.diagram_live import LiveState
from mcpuppet.workflow.diagram_palette import PALETTES, Palette, Theme
from mcpuppet.workflow.diagram_policies import policy_words
from mcpuppet.workflow.diagram_style import escape
from mcpuppet.workflow.diagram_svg import colours_in

_SWITCH: tuple[tuple[Theme, str], ...] = (("auto", "System"), ("light", "Light"), ("dark", "Dark"))
_LAYOUT = """\
:root{color-scheme:light dark}
body{margin:0;font:15px/1.5 system-ui,Helvetica,Arial,sans-serif;
background:var(--page);color:var(--ink)}
header,main{max-width:76rem;margin:0 auto;padding:0 1.25rem}
h1{font-size:1.5rem;margin:1.25rem 0 0}
h2{font-size:1.1rem;margin:2rem 0 .5rem}
p{margin:.25rem 0 .75rem;max-width:46rem}
.muted{color:var(--muted)}
fieldset{border:0;padding:0;margin:.75rem 0}
legend{float:left;padding:0;margin-right:.75rem}
label{margin-right:.9rem}
figure{margin:1rem 0;overflow-x:auto;border:1px solid var(--line);border-radius:8px}
figure svg{display:block;margin:0 auto;height:auto;max-width:100%}
figure.wide svg{max-width:none}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.4rem .75rem .4rem 0;
border-bottom:1px solid var(--line)}
td,h1,p{overflow-wrap:anywhere}
code{font:.9em ui-monospace,Consolas,monospace}
@media print{fieldset{display:none}figure{border:0;overflow:visible}
figure svg,figure.wide svg{max-width:100%;max-height:95vh}
header,main{max-width:none;padding:0}tr,figure{break-inside:avoid}}
"""
_WIDE = 1400
"""Points from which a picture scrolls instead of being made smaller."""


def html_page(definition: Definition, svg: str, theme: Theme, live: LiveState | None) -> str:
    """The page around a light SVG of the definition; `theme` is how its switch stands at first."""
    style = _LAYOUT + _colour_rules(svg)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    title = escape(definition.title or definition.name)
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            f"style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'\">\n",
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n<header>\n",
            f"<h1>{title}</h1>\n",
            *_paragraphs(definition, live),
            _switch(theme),
            f"</header>\n<main>\n<figure{_width_class(svg)}>\n{svg.strip()}\n</figure>\n",
            *_policy_table(definition),
            "</main>\n</body>\n</html>\n",
        )
    )


def _paragraphs(definition: Definition, live: LiveState | None) -> Iterator[str]:
    yield (
        f'<p class="muted"><code>{escape(definition.name)}</code> '
        f"version {escape(definition.version)}, mode {definition.mode}</p>\n"
    )
    if definition.description:
        yield f"<p>{escape(definition.description)}</p>\n"
    for line in () if live is None else live.caption:
        yield f"<p><strong>{escape(line)}</strong></p>\n"


def _switch(theme: Theme) -> str:
    choices = "".join(
        f'<label><input type="radio" name="theme" id="theme-{name}"'
        f"{' checked' if name == theme else ''}> {word}</label>"
        for name, word in _SWITCH
    )
    return f"<fieldset><legend>Colours</legend>{choices}</fieldset>\n"


def _width_class(svg: str) -> str:
    points = svg.partition('width="')[2].partition("pt")[0]
    return ' class="wide"' if points.isdigit() and int(points) > _WIDE else ""


def _policy_table(definition: Definition) -> Iterator[str]:
    if not definition.policies:
        return
    yield "<h2>Policies</h2>\n<table>\n<thead><tr><th>Policy</th><th>Calls it limits</th>"
    yield "<th>Rule</th></tr></thead>\n<tbody>\n"
    yield from (_policy_row(definition, policy) for policy in definition.policies)
    yield "</tbody>\n</table>\n"


def _policy_row(definition: Definition, policy: Policy) -> str:
    calls = ", ".join(f"<code>{escape(word)}</code>" for word in policy.call)
    rule = escape(policy_words(definition, policy, full=True))
    return f"<tr><td><code>{escape(policy.id)}</code></td><td>{calls}</td><td>{rule}</td></tr>\n"


def _colour_rules(svg: str) -> str:
    """The picture's and the page's colours as variables, and which values they have when."""
    found = colours_in(svg)
    light, dark = _page_colours(PALETTES["light"]), _page_colours(PALETTES["dark"])
    light += [f"--c{number}:{one}" for number, (_, one, _) in enumerate(found)]
    dark += [f"--c{number}:{one}" for number, (_, _, one) in enumerate(found)]
    uses = "".join(
        f'[{name}="{one}"]{{{name}:var(--c{number})}}\n'
        for number, (name, one, _) in enumerate(found)
    )
    return (
        f":root{{{';'.join(light)}}}\n"
        f"@media screen{{:root:has(#theme-dark:checked){{color-scheme:dark;{';'.join(dark)}}}\n"
        ":root:has(#theme-light:checked){color-scheme:light}}\n"
        "@media screen and (prefers-color-scheme:dark){:root:has(#theme-auto:checked){"
        f"{';'.join(dark)}}}}}\n{uses}"
    )


def _page_colours(palette: Palette) -> list[str]:
    return [
        f"--page:{palette.page}",
        f"--ink:{palette.ink}",
        f"--muted:{palette.muted}",
        f"--line:{palette.kinds['group'].line}",
    ]
