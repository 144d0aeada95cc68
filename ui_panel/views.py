"""How the page is laid out; what its parts show is told in `views_frame`, `views_compose` and `views_task`."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import panel_material_ui as pmui
import param
from jinja2 import Template
from panel.util import edit_readonly
from panel_material_ui.template.base import parse_template

from gpu_tasks.contract.sentences import Language
from ui_panel.assets import Assets
from ui_panel.islands import Island
from ui_panel.state import PageState
from ui_panel.text import words

_FONT: Final = '"Noto Sans JP", "Noto Sans CJK JP", "Hiragino Sans", "Yu Gothic UI", Meiryo, system-ui, sans-serif'
# The same colours as in components/document.css, for what Material draws.
_THEME: Final[dict[str, Any]] = {
    "light": {
        "palette": {"primary": {"main": "#0f766e"}, "background": {"default": "#f6f7f9", "paper": "#ffffff"}},
        "typography": {"fontFamily": _FONT},
    },
    "dark": {
        "palette": {"primary": {"main": "#5eead4"}, "background": {"default": "#0f1418", "paper": "#182026"}},
        "typography": {"fontFamily": _FONT},
    },
}


def page_of(islands: Mapping[str, Island], state: PageState, assets: Assets, *, is_dark: bool) -> pmui.Page:
    """Return the page: a header, and below it the three steps, the choices, the task and the history."""
    flat = {"sizing_mode": "stretch_width", "margin": 0}
    steps = pmui.Grid(
        *(
            pmui.Grid(islands[name], size={"xs": 12, "md": 4}, **flat)
            for name in ("medium-voice", "medium-video", "faces")
        ),
        container=True,
        column_spacing=2,
        # Cards bring their own distance: rows that are empty, beside a task or the history, take no room.
        row_spacing=0,
        **flat,
    )
    main = pmui.Column(
        islands["frame"], islands["hero"], steps, islands["choices"], islands["task"], islands["history"], **flat
    )
    said = words(state.language)
    page = pmui.Page(
        title=said["page.title"],
        meta_description=said["page.description"],
        main=[main],
        main_width={"xs": "100%", "lg": 1180},
        theme_toggle=False,
        busy_indicator=None,
        dark_theme=is_dark,
        theme_config=_THEME,
        # Our own header stands in `frame`; Material's, and the room that it would take, are not shown.
        sx={
            "&, & .main": {"backgroundColor": "var(--ground)"},
            "& .header, & .MuiToolbar-root": {"display": "none"},
            "& .main-content": {"padding": "0 16px"},
        },
        favicon=assets.path("icon.svg"),
        template=_template(state.language, assets),
    )
    # It watches a parameter of the whole process, which would keep every page that was ever open.
    with edit_readonly(page):
        page.busy = _Still().param.busy
    return page


class _Still(param.Parameterized):
    """What a page without a busy indicator watches."""

    busy = param.Boolean(default=False)


@cache
def _template(language: Language, assets: Assets) -> Template:
    source = files("ui_panel").joinpath("templates", "page.html").read_text(encoding="utf-8")
    scripts = [assets.path(name) for name in sorted(assets.plain) if name.endswith(".js")]
    modules = "\n".join(f'<link rel="modulepreload" href="{path}">' for path in scripts)
    source = source.replace("MODULES", modules).replace("LANGUAGE", language.value)
    template: Template = parse_template(source.replace("ASSETS/", assets.path("")))
    return template
