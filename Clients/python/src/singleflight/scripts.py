"""The operations, each one script: this package's own text of what docs/protocol.md says of them."""

import hashlib
from importlib import resources

_FOLDER = resources.files(__package__) / "lua"
# Behind this many bytes of payload, a server that is out of memory refuses `complete`.
LONG = 16384


class Script:
    def __init__(self, name: str, *, allow_oom: bool) -> None:
        self._body = (_FOLDER / "prelude.lua").read_text() + (_FOLDER / f"{name}.lua").read_text()
        self._first = "#!lua flags=allow-oom\n" if allow_oom else "#!lua\n"
        self.text = self.sha = ""
        self.speak(flags=True)

    def speak(self, *, flags: bool) -> None:
        """Servers before 7.0 do not know the first line."""
        self.text = self._first + self._body if flags else self._body
        self.sha = hashlib.sha1(self.text.encode()).hexdigest()


def scripts() -> dict[str, Script]:
    short = ("renew", "complete", "release", "poll", "leave", "fence", "revoke", "depend", "read")
    found = {name: Script(name, allow_oom=True) for name in short}
    found |= {name: Script(name, allow_oom=False) for name in ("enter", "append")}
    return found | {"complete long": Script("complete", allow_oom=False)}
