"""Nothing in the repository knows the machine it was written on."""

import re
import subprocess

from .source import REPOSITORY

# Home directories and the like; what Debian itself has (/etc, /usr, /var, /tmp) is everyone's.
MACHINE_PATH = re.compile(r"(?<![\w.~$}-])/(?:home|root|Users|work|workspace|mnt|opt)/\w")
ALLOWED = re.compile(r"^(?:tests/structure/test_no_machine_paths\.py|tests/fixtures/.*)$")


def test_no_machine_paths() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    names = tracked.stdout.split("\0") if tracked.returncode == 0 else []
    if not names:  # not a git checkout: everything that was shipped
        names = [str(p.relative_to(REPOSITORY)) for p in (REPOSITORY / "homeserver").rglob("*.py")]
    wrong = []
    for name in filter(None, names):
        path = REPOSITORY / name
        if ALLOWED.match(name) or not path.is_file():
            continue
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # an image or a database
        wrong += [
            f"{name}:{number}: {line.strip()}"
            for number, line in enumerate(lines, 1)
            if MACHINE_PATH.search(line)
        ]
    assert not wrong, "\n".join(wrong)
