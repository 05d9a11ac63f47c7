"""Text that every Python brings along: its language reference and readable modules.

For first runs without any data. The texts differ between Python versions, so no number
measured on them is golden; their fingerprint is checked when a run resumes.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import zlib

# Pure Python, written to be read; those a version lacks are left out.
_NAMES = """
abc argparse ast base64 bdb bisect bz2 calendar cmd code codecs codeop collections
colorsys compileall concurrent.futures._base concurrent.futures.process
concurrent.futures.thread configparser contextlib copy csv dataclasses difflib dis
doctest email.charset email.feedparser email.generator email.header email.message
email.policy email.utils enum filecmp fileinput fnmatch fractions ftplib functools
getopt getpass gettext glob graphlib gzip hashlib heapq hmac html.parser http.client
http.cookiejar http.cookies http.server imaplib inspect io ipaddress json json.decoder
json.encoder keyword linecache logging logging.config logging.handlers lzma mailbox
mimetypes modulefinder netrc numbers operator optparse os pdb pickle pkgutil platform
plistlib poplib posixpath pprint profile pstats py_compile pyclbr pydoc queue quopri
random reprlib rlcompleter sched selectors shelve shlex shutil smtplib socket
socketserver ssl statistics string subprocess symtable sysconfig tabnanny tarfile
tempfile textwrap threading timeit tokenize trace traceback tracemalloc turtle types
typing unittest.case unittest.loader unittest.mock unittest.result unittest.runner
unittest.suite urllib.parse urllib.request urllib.robotparser uuid warnings wave weakref
webbrowser wsgiref.handlers wsgiref.validate xml.etree.ElementTree xml.sax.handler
xmlrpc.client xmlrpc.server zipapp
"""
MODULES = tuple(_NAMES.split())
# Of 20 parts by a hash of the name: 18 train, one validation, one test.
_PARTS = 20
_HELD_OUT = {"validation": 18, "test": 19}


def records(split: str, seed: int) -> list[dict[str, str]]:
    """Return {"name", "text"} of each topic and module of a split; `seed` is not used.

    Raises:
        ValueError: no such split, or a Python without its library's sources.
    """
    del seed
    if split not in ("train", *_HELD_OUT):
        raise ValueError(
            f"pydocs has no split {split!r}, but train, validation and test."
        )
    texts = _texts()
    if not texts:
        raise ValueError(
            "this Python brings no library sources, so pydocs is empty; use another "
            "task, or text of your own by config.data.files.train."
        )
    return [
        {"name": name, "text": text} for name, text in texts if _split(name) == split
    ]


def _split(name: str) -> str:
    # crc32, not hash(): the same in every process.
    part = zlib.crc32(name.encode()) % _PARTS
    return {number: split for split, number in _HELD_OUT.items()}.get(part, "train")


@functools.cache
def _texts() -> tuple[tuple[str, str], ...]:
    """Return (name, text) of all there is, in a fixed order."""
    modules = ((name, _source(name)) for name in MODULES)
    return tuple(_topics() + [(name, text) for name, text in modules if text.strip()])


def _topics() -> list[tuple[str, str]]:
    try:
        from pydoc_data import topics
    except ModuleNotFoundError:
        return []
    return [(f"topic {name}", text) for name, text in sorted(topics.topics.items())]


def _source(name: str) -> str:
    """Return a module's source without importing it, "" where there is none."""
    head, *rest = name.split(".")
    spec = importlib.util.find_spec(head)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        # Frozen modules (os, codecs) have their source beside the others.
        folder = os.path.dirname(os.__file__)
    else:
        folder = os.path.dirname(spec.origin)
        if spec.submodule_search_locations:
            folder = os.path.dirname(folder)
    path = os.path.join(folder, head, *rest)
    for place in (f"{path}.py", os.path.join(path, "__init__.py")):
        if os.path.isfile(place):
            with open(place, encoding="utf-8") as file:
                return file.read()
    return ""
