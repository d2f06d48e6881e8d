"""Certificate authorities of one's own, by openssl, and what they sign."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Self

import attrs

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


@attrs.frozen
class Authority:
    """A certificate authority, and what it has signed, as PEM files in a directory."""

    directory: Path
    name: str

    @classmethod
    def new(cls, directory: Path, name: str) -> Self:
        """Make one that nobody knows."""
        made = cls(directory, name)
        key = made.certificate.with_suffix(".key")
        openssl(
            "req", "-x509", *NEW_KEY, "-keyout", key, "-out", made.certificate, "-days", "2", "-subj", f"/CN={name}"
        )  # fmt: skip
        return made

    @property
    def certificate(self) -> Path:
        """Its own, by which it is trusted."""
        return self.directory / f"{self.name}.pem"

    def sign(self, subject: str, *, host: str = "localhost", days: int = 2) -> tuple[Path, Path]:
        """Return the key and the certificate for a subject; it is good for a server of that name."""
        stem = self.directory / f"{self.name}-{subject}"
        key, request, certificate = (stem.with_suffix(suffix) for suffix in (".key", ".csr", ".pem"))
        extensions = stem.with_suffix(".ext")
        extensions.write_text(f"subjectAltName=DNS:{host}\n")
        openssl("req", *NEW_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={subject}")
        openssl(
            "x509", "-req", "-in", request, "-out", certificate, "-days", days, "-extfile", extensions,
            "-CA", self.certificate, "-CAkey", self.certificate.with_suffix(".key"), "-CAcreateserial",
        )  # fmt: skip
        return key, certificate
