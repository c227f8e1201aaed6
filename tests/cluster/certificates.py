"""A throw-away certificate authority: who the servers and their clients are, for one run of the tests."""

import shutil
import subprocess
from pathlib import Path

DAYS = "2"
SERVER_NAMES = "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default.svc,IP:127.0.0.1"


class NoOpenssl(Exception):
    """The `openssl` command is missing; the sentence says what to do."""


class Authority:
    """A certificate authority in a folder; everything it issues lies there too, as NAME.crt and NAME.key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700)
        self._key("ca")
        self._openssl("req", "-x509", "-new", "-key", "ca.key", "-out", "ca.crt", "-days", DAYS, "-subj", "/CN=test-ca")

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.crt"

    def server(self, name: str, names: str = SERVER_NAMES) -> None:
        """A certificate for a server that is known by these names."""
        self._issue(name, f"/CN={name}", f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n")

    def client(self, name: str, user: str, group: str = "") -> None:
        """A certificate by which Kubernetes knows `user`, a member of `group`."""
        subject = f"/O={group}/CN={user}" if group else f"/CN={user}"
        self._issue(name, subject, "extendedKeyUsage=clientAuth\n")

    def key_pair(self, name: str) -> None:
        """NAME.key and NAME.pub, for signing tokens."""
        self._key(name)
        self._openssl("pkey", "-in", f"{name}.key", "-pubout", "-out", f"{name}.pub")

    def _issue(self, name: str, subject: str, extensions: str) -> None:
        self._key(name)
        self._openssl("req", "-new", "-key", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        (self.folder / f"{name}.ext").write_text(extensions)
        signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", DAYS, "-extfile", f"{name}.ext"]
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *signed)

    def _key(self, name: str) -> None:
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")

    def _openssl(self, *arguments: str) -> None:
        if shutil.which("openssl") is None:
            raise NoOpenssl(
                "OpensslMissing: the test cluster's certificates are made with the command openssl, which is not on "
                "PATH. Install it (apt-get install openssl, brew install openssl)."
            )
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, f"openssl {' '.join(arguments)}: {done.stderr}"
