"""Who signed a bundle: made and verified by ssh-keygen, offline."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from planting import command

from onetck import bundling, container, manifest
from onetck.signing import sign
from onetck.verifying import Answer, verify


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keys of Ada and Eve, and a file that says whom to trust: Ada."""
    home = tmp_path_factory.mktemp("keys")
    for name in ("ada", "eve"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", home / name], check=True)
    (home / "signers").write_text(f"ada@example.com {(home / 'ada.pub').read_text()}")
    return home


@pytest.fixture(scope="module")
def signed(run: Path, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that Ada has signed, by the command."""
    path = tmp_path_factory.mktemp("signed") / "x.onetck"
    assert command("bundle", str(run), "-o", str(path), "--sign", str(keys / "ada")).returncode == 0
    return path


def signature(path: Path, signers: Path | None) -> Answer:
    """Return who signed a bundle."""
    return next(one for one in verify(path, signers=signers).answers if one.question == "SIGNATURE")


def repacked(path: Path, target: Path, change: Mapping[str, bytes | None]) -> Path:
    """Return a bundle with other files, None = without."""
    files = {**container.unpack(path), **change}
    container.write({name: data for name, data in files.items() if data is not None}, target)
    return target


def test_a_signature_is_known_or_unknown(signed: Path, keys: Path) -> None:
    """By the name that the reviewer has for the key; without one the key is told."""
    assert signature(signed, None).state == "open" and "ED25519 SHA256:" in signature(signed, None).sentence
    found = signature(signed, keys / "signers")
    assert found.state == "holds" and found.sentence.startswith("by ada@example.com, ED25519 SHA256:")


def test_ssh_keygen_alone_verifies_it(signed: Path, keys: Path, tmp_path: Path) -> None:
    """A reviewer needs no onetck for that."""
    files = container.unpack(signed)
    (tmp_path / "sig").write_bytes(files["manifest.json.sig"])
    words = ["ssh-keygen", "-Y", "verify", "-f", str(keys / "signers"), "-I", "ada@example.com", "-n", "onetck", "-s", str(tmp_path / "sig")]
    assert subprocess.run(words, input=files["manifest.json"], capture_output=True, check=False).returncode == 0


def test_the_same_results_signed_twice_are_equal(run: Path, keys: Path, signed: Path, tmp_path: Path) -> None:
    """An ed25519 signature is the same each time."""
    bundling.bundle(run, tmp_path / "y.onetck", keys / "ada")
    assert (tmp_path / "y.onetck").read_bytes() == signed.read_bytes()


def test_foreign_missing_and_borrowed_signatures_are_found(signed: Path, keys: Path, tmp_path: Path) -> None:
    """Eve's own, none at all, and Ada's over something else: exit 7 each, whatever else is right."""
    text = container.unpack(signed)["manifest.json"]
    for name, data, word in (
        ("eve", sign(text, keys / "eve"), "none of the trusted signers"),
        ("none", None, "asked for"),
        ("borrowed", sign(b"{}", keys / "ada"), "not over this manifest"),
        ("garbage", b"no signature", "not over this manifest"),
    ):
        path = repacked(signed, tmp_path / name, {manifest.SIGNATURE: data})
        found = signature(path, keys / "signers")
        assert found.state == "changed" and word in found.sentence, name
        assert verify(path, signers=keys / "signers").exit_code == 7
    assert signature(tmp_path / "borrowed", None).state == "changed"  # nobody need be trusted to see that


def test_a_signature_for_another_purpose_does_not_count(signed: Path, keys: Path, tmp_path: Path) -> None:
    """Ada has signed the same text as a mail."""
    (tmp_path / "text").write_bytes(container.unpack(signed)["manifest.json"])
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "email", "-f", keys / "ada", tmp_path / "text"], check=True)
    path = repacked(signed, tmp_path / "x", {manifest.SIGNATURE: (tmp_path / "text.sig").read_bytes()})
    assert signature(path, keys / "signers").state == "changed"
