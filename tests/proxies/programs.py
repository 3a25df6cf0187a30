"""The reverse proxies of docs/reverse-proxy.md: their blocks there, and how each program is started with one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reverse-proxy.md"
_TESTED = re.compile(r"<!-- tested: (\w+) -->\n\n((?:    .*\n|\n)+)")


def block(program: str) -> str:
    """The configuration that the page gives for a program."""
    found = dict(_TESTED.findall(PAGE.read_text(encoding="utf-8")))
    return "".join(line.removeprefix("    ") for line in found[program].splitlines(keepends=True))


def homeserver_yaml() -> dict[str, Any]:
    """The homeserver.yaml of the page."""
    text = PAGE.read_text(encoding="utf-8")
    lines = text[text.index("    server_name:") :].split("\n\n", 1)[0]
    settings: dict[str, Any] = yaml.safe_load(
        "\n".join(line.removeprefix("    ") for line in lines.split("\n"))
    )
    return settings


@dataclass(frozen=True)
class Program:
    """around: what a whole configuration has beside the block; {directory} and {block} are filled in."""

    name: str
    executable: str
    arguments: tuple[str, ...]
    around: str = "{block}"

    def configuration(self, directory: Path, changed_block: str) -> str:
        """The whole configuration. The only paths that are not the page's are those of the certificate."""
        paths = {
            "/etc/letsencrypt/live/example.org": str(directory),
            "/etc/haproxy/": f"{directory}/",
        }
        for path, there in paths.items():
            changed_block = changed_block.replace(path, there)
        return self.around.replace("{directory}", str(directory)).replace("{block}", changed_block)

    def command(self, directory: Path, configuration: Path) -> list[str]:
        """How it is started, to run until it is terminated."""
        filled = [each.format(configuration=configuration, directory=directory) for each in self.arguments]
        return [self.executable, *filled]


PROGRAMS = {
    program.name: program
    for program in (
        Program(
            "nginx",
            "nginx",
            ("-c", "{configuration}", "-p", "{directory}", "-e", "stderr"),
            # The user: nginx keeps large bodies in a directory that others may not even come near.
            "user root;\ndaemon off;\nworker_processes 1;\npid {directory}/nginx.pid;\nerror_log stderr;\nevents {}\n"
            "http {\naccess_log off;\nclient_body_temp_path {directory}/body;\nproxy_temp_path {directory}/proxied;\n"
            "fastcgi_temp_path {directory}/fastcgi;\nuwsgi_temp_path {directory}/uwsgi;\nscgi_temp_path {directory}/scgi;\n"
            "{block}}\n",
        ),
        Program("caddy", "caddy", ("run", "--adapter", "caddyfile", "--config", "{configuration}")),
        Program("haproxy", "haproxy", ("-db", "-f", "{configuration}")),
        Program(
            "apache",
            "apache2",
            ("-DFOREGROUND", "-f", "{configuration}"),
            "ServerRoot {directory}\nPidFile {directory}/apache.pid\nDefaultRuntimeDir {directory}\nErrorLog /dev/stderr\n"
            "ServerName localhost\nListen 443\nUser www-data\nGroup www-data\n"
            + "".join(
                f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
                for name in ("mpm_event", "authz_core", "ssl", "proxy", "proxy_http", "rewrite", "headers")
            )
            + "{block}",
        ),
    )
}
