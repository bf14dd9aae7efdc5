# Copyright (c) 2026 homelab.airlock contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accelerators and their driver, secure boot, and disk space."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
# PCI classes: display controllers and processing accelerators.
_CLASSES = ("0x03", "0x12")
_MODULES = frozenset(
    {"nvidia", "nvidia_drm", "nvidia_uvm", "nouveau", "amdgpu", "radeon", "i915", "xe"}
)
_DEVICES = ("nvidia[0-9]*", "nvidiactl", "nvidia-uvm", "kfd", "dri/renderD*")
_SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
_STORES = ("/", "/var", "/var/lib", "/srv", "/opt", "/home")


def accelerators(root: str = "/") -> dict[str, Any]:
    """Return ``gpus`` (PCI address, vendor, device id, driver bound to it), ``modules`` loaded, ``devices`` in
    /dev, and ``nvidia_version``, the version of the loaded NVIDIA module or "".
    """
    base = Path(root)
    gpus = []
    for device in sorted((base / "sys/bus/pci/devices").glob("*")):
        vendor = _text(device / "vendor")
        if _text(device / "class").startswith(_CLASSES) and vendor in _VENDORS:
            driver = device / "driver"
            gpus.append(
                {
                    "address": device.name,
                    "vendor": _VENDORS[vendor],
                    "device": _text(device / "device"),
                    "driver": driver.resolve().name if driver.exists() else "",
                }
            )
    loaded = {line.split()[0] for line in _text(base / "proc/modules").splitlines()}
    devices = {path.name for pattern in _DEVICES for path in (base / "dev").glob(pattern)}
    return {
        "gpus": gpus,
        "modules": sorted(loaded & _MODULES),
        "devices": sorted(devices),
        "nvidia_version": nvidia_version(_text(base / "proc/driver/nvidia/version")),
    }


def nvidia_version(text: str) -> str:
    """Return the version in /proc/driver/nvidia/version, the first word that looks like one."""
    words = text.partition("\n")[0].split()
    return next((word for word in words if word[0].isdigit() and "." in word), "")


def secure_boot(root: str = "/") -> str:
    """Return on, off, or "no UEFI" (the last byte of the EFI variable decides)."""
    try:
        return "on" if Path(root + _SECURE_BOOT).read_bytes()[-1:] == b"\1" else "off"
    except OSError:
        return "no UEFI"


def disks(root: str = "/") -> list[dict[str, Any]]:
    """Return each file system that could hold models: ``path``, ``size`` and ``free`` in bytes."""
    seen: dict[int, dict[str, Any]] = {}
    for path in _STORES:
        real = Path(root + path)
        if real.is_dir():
            space = os.statvfs(real)
            seen.setdefault(
                real.stat().st_dev,
                {
                    "path": path,
                    "size": space.f_blocks * space.f_frsize,
                    "free": space.f_bavail * space.f_frsize,
                },
            )
    return list(seen.values())


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "backslashreplace").strip()
    except OSError:
        return ""
