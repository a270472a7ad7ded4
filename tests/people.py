"""A throw-away CA and the people it knows: certificates made when first asked for."""

from __future__ import annotations

import ssl
from pathlib import Path

import attrs

from trio_chat.pki import Authority, Issued
from trio_chat.tls import client_context

__all__ = ["People"]


@attrs.define
class People:
    """A CA in a folder, with a server's certificate for this machine."""

    authority: Authority
    _issued: dict[str, Issued] = attrs.field(factory=dict, init=False)
    _contexts: dict[str, ssl.SSLContext] = attrs.field(factory=dict, init=False)

    @classmethod
    def create(cls, folder: Path) -> People:
        authority = Authority.create(folder / "ca.crt")
        authority.issue_server(["localhost", "127.0.0.1"])
        return cls(authority)

    @property
    def ca(self) -> Path:
        return self.authority.place.ca

    @property
    def folder(self) -> Path:
        return self.authority.place.folder

    def certificate(self, name: str, *, admin: bool = False, bot: bool = False) -> Issued:
        """The certificate of `name`; the roles count when it is made."""
        if name not in self._issued:
            self._issued[name] = self.authority.issue_client(name, admin=admin, bot=bot)
        return self._issued[name]

    def context(self, name: str) -> ssl.SSLContext:
        """A client's context with the certificate of `name`."""
        if name not in self._contexts:
            issued = self.certificate(name)
            assert issued.key is not None
            self._contexts[name] = client_context(issued.crt, issued.key, ca=self.ca)
        return self._contexts[name]

    def revoke(self, name: str) -> None:
        self.authority.revoke([self.certificate(name).certificate.serial_number])
