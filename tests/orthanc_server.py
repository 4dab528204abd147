"""A real PACS for tests: Orthanc with its DICOMweb plug-in, on loopback, filled through C-STORE."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import pydicom
import pytest
from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import build_context

USER = "ribline"
PASSWORD = "loopback-only"
AE_TITLE = "ORTHANC"
OWN_AE_TITLE = "RIBLINE"
PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc/plugins", "/usr/local/share/orthanc")
START_SECONDS = 30.0


def require_orthanc() -> Path:
    """The DICOMweb plug-in of the installed Orthanc; the test is skipped where there is none."""
    plugins = [path for folder in PLUGINS for path in Path(folder).glob("libOrthancDicomWeb.so*")]
    if shutil.which("Orthanc") is None or not plugins:
        if os.environ.get("CI"):
            pytest.fail("orthanc and orthanc-dicomweb are not installed: make system-packages")
        pytest.skip("orthanc and orthanc-dicomweb are not installed")
    return sorted(plugins)[0]


def free_ports(n: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class OrthancServer:
    """One Orthanc; its storage outlives ``stop``, so that it can be away for a while.

    Args:
        folder: Empty folder for configuration, storage and log.
        tls: What trusts its certificate, where it speaks DICOM over TLS.
        changes: Orthanc settings that differ from the test's defaults.
    """

    def __init__(
        self, folder: Path, *, tls: ssl.SSLContext | None = None, **changes: object
    ) -> None:
        self._folder = folder
        self._tls = tls
        self._plugin = require_orthanc()
        self._process: subprocess.Popen[bytes] | None = None
        self.http_port, self.dicom_port, self.receiver_port = free_ports(3)
        self._changes = changes

    @property
    def url(self) -> str:
        """Base URL of its DICOMweb services."""
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def change(self, **changes: object) -> None:
        """Settings that depend on the ports; before ``start``."""
        self._changes |= changes

    def start(self) -> None:
        """Start it and wait until it answers."""
        path = self._folder / "orthanc.json"
        path.write_text(json.dumps(self._configuration()), encoding="utf-8")
        with (self._folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen(["Orthanc", path], stdout=log, stderr=log)
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                self.get("/system")
                return
            except OSError:
                if time.monotonic() > give_up or self._process.poll() is not None:
                    log_text = (self._folder / "orthanc.log").read_text(errors="replace")
                    pytest.fail(f"Orthanc does not start:\n{log_text[-2000:]}")
                time.sleep(0.05)

    def stop(self) -> None:
        """End it; what it stored stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def get(self, path: str) -> object:
        """Answer of its own REST interface."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}")
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def store(self, files: Iterable[Path]) -> int:
        """Send DICOM files by C-STORE; returns how many were accepted."""
        datasets = [pydicom.dcmread(path) for path in files]
        contexts = {(each.SOPClassUID, each.file_meta.TransferSyntaxUID) for each in datasets}
        entity = ApplicationEntity("HOSPITAL")
        entity.requested_contexts = [build_context(*each) for each in sorted(contexts)]
        association = entity.associate(
            "127.0.0.1",
            self.dicom_port,
            ae_title=AE_TITLE,
            tls_args=None if self._tls is None else (self._tls, "127.0.0.1"),
        )
        assert association.is_established
        statuses = [association.send_c_store(each).get("Status") for each in datasets]
        association.release()
        assert set(statuses) <= {0}, statuses
        return len(statuses)

    def _configuration(self) -> dict[str, object]:
        return {
            "Name": "Ribline's test PACS",
            "StorageDirectory": str(self._folder / "storage"),
            "IndexDirectory": str(self._folder / "index"),
            "Plugins": [str(self._plugin)],
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": AE_TITLE,
            "DicomCheckCalledAet": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            "DicomModalities": {"ribline": [OWN_AE_TITLE, "127.0.0.1", self.receiver_port]},
            "DicomAlwaysAllowGet": False,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            **self._changes,
        }
