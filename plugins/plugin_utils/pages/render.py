# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages that a person reads: one self-contained HTML file each, without a script.

Everything that comes from a host is hostile text. The templates escape all of it, and the content
security policy, which allows the one style sheet by its hash and nothing else, holds if they did not.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

_HERE = Path(__file__).parent


def page(template: str, context: dict[str, Any]) -> str:
    """Render a template of this directory. Raises jinja2.TemplateError for a context that lacks something."""
    style = (_HERE / "page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    # The style sheet is ours and its hash covers every byte between the tags.
    return environment.get_template(template).render(
        **context,
        policy=policy,
        style=Markup(style),  # noqa: S704
    )
