# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A look at a machine as it is today, before anything is changed, and what it means in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from . import survey_hardware, survey_jobs, survey_listeners, survey_models, survey_network
from .commands import Run
from .errors import AirlockError

VERSION = 1
SEVERITIES = ("high", "medium", "info")
_GIB = 1024**3
_LOW_SPACE = 20 * _GIB


@dataclass(frozen=True)
class Finding:
    """One sentence about a machine; ``key`` stays the same from survey to survey.

    ``severity`` is one of SEVERITIES, ``plane`` the prefix of the controls that answer it.
    """

    key: str
    severity: str
    plane: str
    sentence: str


def survey(run: Run, fetch: survey_listeners.Fetch, root: str = "/") -> dict[str, Any]:
    """Look at everything; nothing is changed, and what cannot be read is named, never fatal.

    Sections: ``listeners``, ``answers``, ``containers``, ``ollama_stores``, ``hub_caches``, ``accelerators``,
    ``jobs``, ``firewall``, ``network``, ``secure_boot``, ``disks``; ``unreadable`` maps a section to the reason.
    """
    sections: dict[str, Callable[[], Any]] = {
        "listeners": lambda: survey_listeners.listeners(root),
        "answers": lambda: survey_listeners.ask(seen["listeners"] or [], fetch),
        "containers": lambda: survey_network.containers(root),
        "ollama_stores": lambda: survey_models.ollama_stores(root),
        "hub_caches": lambda: survey_models.hub_caches(root),
        "accelerators": lambda: survey_hardware.accelerators(root),
        "jobs": lambda: survey_jobs.jobs(root),
        "firewall": lambda: survey_network.firewall(run, root),
        "network": lambda: survey_network.network(run, root),
        "secure_boot": lambda: survey_hardware.secure_boot(root),
        "disks": lambda: survey_hardware.disks(root),
    }
    seen: dict[str, Any] = {"version": VERSION, "unreadable": {}}
    for name, look in sections.items():
        try:
            seen[name] = look()
        except (AirlockError, OSError, ValueError, LookupError, TypeError, AttributeError) as exc:
            # A messy machine is what this is for: one odd file must not hide the rest.
            seen[name] = None
            seen["unreadable"][name] = f"{type(exc).__name__}: {exc}"
    return seen


def findings(seen: dict[str, Any]) -> list[Finding]:
    """Say what a survey means, the most important first."""
    found = [
        *_of_answers(seen["answers"] or []),
        *_of_unasked(seen["listeners"] or []),
        *_of_containers(seen["containers"] or []),
        *_of_firewall(seen["firewall"] or {}, seen["listeners"] or []),
        *_of_jobs(seen["jobs"] or []),
        *_of_stores(seen),
        *_of_accelerators(seen["accelerators"] or {}),
        *_of_disks(seen["disks"] or []),
        *(
            Finding(
                f"unreadable:{name}",
                "medium",
                "SRV",
                f"The section {name} could not be read ({reason}).",
            )
            for name, reason in seen["unreadable"].items()
        ),
    ]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def report(seen: dict[str, Any]) -> dict[str, Any]:
    """Return the survey with its findings, the document that is kept."""
    return {**seen, "findings": [asdict(finding) for finding in findings(seen)]}


def _of_answers(answers: list[dict[str, Any]]) -> list[Finding]:
    found = []
    for answer in answers:
        at = _at(answer["address"], answer["port"])
        key = f"answer:{at}"
        who = answer["product"] if answer["product"] != "unknown" else "A program"
        process = answer["unit"] or answer["process"] or "an unknown process"
        if answer["access"] == "open":
            models = ", ".join(answer["models"][:3]) or "no models yet"
            outside = answer["reach"] != "itself"
            found.append(
                Finding(
                    key,
                    "high" if outside else "medium",
                    "GW",
                    f"{who} answers without a key on {at} ({process}), "
                    + (
                        "reachable from other machines"
                        if outside
                        else "reachable by every user of this one"
                    )
                    + f"; it offers {models}.",
                )
            )
        elif answer["product"] != "unknown" and answer["reach"] != "itself":
            found.append(
                Finding(key, "info", "GW", f"{who} answers on {at} ({process}) and asks for a key.")
            )
    return found


def _of_unasked(listeners: list[dict[str, Any]]) -> list[Finding]:
    count = len(survey_listeners.worth_asking(listeners))
    if count <= survey_listeners.MAX_PROBED:
        return []
    sentence = (
        f"Only {survey_listeners.MAX_PROBED} of {count} TCP listeners were asked who they are."
    )
    return [Finding("listeners:unasked", "medium", "GW", sentence)]


def _of_containers(containers: list[dict[str, Any]]) -> list[Finding]:
    found = []
    for container in containers:
        name = f"The {container['engine']} container {container['name']}"
        key = f"container:{container['engine']}:{container['name']}"
        ports = survey_network.published_everywhere(container)
        if ports:
            found.append(
                Finding(
                    f"{key}:ports",
                    "high",
                    "NET",
                    f"{name} publishes {', '.join(ports)} around the firewall: its traffic is redirected "
                    "before the input rules see it.",
                )
            )
        for fact, words in (
            ("engine_socket", "can command the container engine, which is root on this machine"),
            ("privileged", "runs privileged, which is root on this machine"),
            ("host_network", "uses the network of the host without a wall"),
        ):
            if container[fact]:
                found.append(Finding(f"{key}:{fact}", "high", "NET", f"{name} {words}."))
    return found


def _of_firewall(firewall: dict[str, Any], listeners: list[dict[str, Any]]) -> list[Finding]:
    if not firewall:
        return []
    found = [
        Finding(
            f"redirect:{redirect}",
            "medium",
            "NET",
            f"A NAT rule redirects {redirect} before the input rules see it.",
        )
        for redirect in firewall["redirects"]
    ]
    open_tcp = sorted(
        {
            item["port"]
            for item in listeners
            if item["protocol"] == "tcp" and item["reach"] == "everywhere"
        }
    )
    if firewall["input_policy"] != "drop" and not firewall["firewalld"]:
        ports = ", ".join(map(str, open_tcp)) or "none now"
        found.append(
            Finding(
                "firewall:input",
                "high" if open_tcp else "medium",
                "NET",
                f"No firewall drops what comes in; TCP ports open to every network: {ports}.",
            )
        )
    return found


def _of_jobs(jobs: list[dict[str, Any]]) -> list[Finding]:
    return [
        Finding(
            f"job:{job['where']}",
            "medium",
            "GW",
            f"A scheduled job calls a model: {job['where']}"
            + (f", run by {job['via']}," if not job["where"].startswith(f"{job['via']}:") else "")
            + f" names {job['calls']}; it will need a key and the new address.",
        )
        for job in jobs
    ]


def _of_stores(seen: dict[str, Any]) -> list[Finding]:
    found = []
    for kind, stores in (("Ollama", seen["ollama_stores"]), ("Hugging Face", seen["hub_caches"])):
        for store in stores or []:
            size = sum(model["size"] for model in store["models"])
            names = ", ".join(model["name"] for model in store["models"][:3]) or "none"
            broken = sum(1 for model in store["models"] if model.get("missing"))
            found.append(
                Finding(
                    f"store:{store['path']}",
                    "medium",
                    "MOD",
                    f"{kind} keeps {len(store['models'])} model(s) in {store['path']} ({_size(size)}): {names}"
                    + (f"; {broken} incomplete" if broken else "")
                    + "; nothing checks them before they are loaded.",
                )
            )
    return found


def _of_accelerators(accelerators: dict[str, Any]) -> list[Finding]:
    if not accelerators:
        return []
    found = []
    for gpu in accelerators["gpus"]:
        driver = gpu["driver"] or "no driver"
        version = accelerators["nvidia_version"] if gpu["driver"] == "nvidia" else ""
        found.append(
            Finding(
                f"gpu:{gpu['address']}",
                "info",
                "GPU",
                f"{gpu['vendor']} GPU {gpu['device']} at {gpu['address']} uses {driver} {version}".rstrip()
                + ".",
            )
        )
    return found


def _of_disks(disks: list[dict[str, Any]]) -> list[Finding]:
    return [
        Finding(
            f"disk:{disk['path']}",
            "medium",
            "MOD",
            f"Only {_size(disk['free'])} are free on the file system of {disk['path']}; models need space.",
        )
        for disk in disks
        if disk["path"] in ("/", "/var", "/var/lib") and disk["free"] < _LOW_SPACE
    ]


def _at(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _size(count: int) -> str:
    """Return bytes in the unit that people use, rounded down."""
    for unit, factor in (("GiB", _GIB), ("MiB", 1024**2), ("KiB", 1024)):
        if count >= factor:
            return f"{count // factor} {unit}"
    return f"{count} bytes"
