"""Classic mistakes in the configuration of each proxy: what is changed in the page's block, and what the doctor must find."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    """`old` in the block becomes `new`. code: of the one finding that there must be."""

    name: str
    old: str
    new: str
    code: str


def _nginx_passes(rest: str) -> tuple[str, str]:
    """What stands after the port in the first proxy_pass."""
    end = ";\n    }\n    location /.well"
    return f"8008{end}", f"8008{rest}{end}"


def _caddy_proxy(lines: str) -> tuple[str, str]:
    """A reverse_proxy with a block of its own."""
    start = "/_matrix/* 127.0.0.1:8008"
    return start, f"{start} {{\n        {lines}\n    }}"


def _haproxy_rule(rule: str) -> tuple[str, str]:
    """A rule of the backend."""
    return "    server homeserver", f"    http-request {rule}\n    server homeserver"


WRONG_PORT = ("127.0.0.1:8008", "127.0.0.1:8009")
LEAF_ALONE = ("fullchain.pem", "cert.pem")

# Name: what is replaced by what, and the code of the one finding that there must be.
TABLE: dict[str, dict[str, tuple[tuple[str, str], str]]] = {
    "nginx": {
        "a path after the port": (_nginx_passes("/_matrix"), "path-decoded"),
        "a slash after the port": (_nginx_passes("/"), "prefix-stripped"),
        "a variable of the decoded path": (_nginx_passes("$uri$is_args$args"), "path-decoded"),
        "no limit for uploads given": (("client_max_body_size 50M;", ""), "upload-limit"),
        "a short time-out": (("proxy_read_timeout 120s", "proxy_read_timeout 1s"), "long-poll-cut"),
        "no Host": (("proxy_set_header Host $http_host;", ""), "host-changed"),
        "not the whole chain": (LEAF_ALONE, "certificate-intermediate-missing"),
        "a wrong port": (WRONG_PORT, "proxy-no-backend"),
    },
    "caddy": {
        "handle_path": (
            (
                "reverse_proxy /_matrix/* 127.0.0.1:8008",
                "handle_path /_matrix/* {\n        reverse_proxy 127.0.0.1:8008\n    }",
            ),
            "prefix-stripped",
        ),
        "only clients": (("/_matrix/* 127", "/_matrix/client/* 127"), "http-not-matrix"),
        "a short time-out": (
            _caddy_proxy("transport http {\n            response_header_timeout 1s\n        }"),
            "long-poll-cut",
        ),
        "a limit for uploads": (
            (
                "reverse_proxy /_matrix/*",
                "request_body {\n        max_size 10MB\n    }\n    reverse_proxy /_matrix/*",
            ),
            "upload-cut",
        ),
        "another Host": (_caddy_proxy("header_up Host localhost"), "host-changed"),
        "Authorization taken away": (_caddy_proxy("header_up -Authorization"), "authorization-lost"),
        "not the whole chain": (LEAF_ALONE, "certificate-intermediate-missing"),
        "a wrong port": (WRONG_PORT, "proxy-no-backend"),
    },
    "haproxy": {
        "the path decoded": (_haproxy_rule("set-path %[path,url_dec]"), "path-decoded"),
        "the prefix taken away": (_haproxy_rule("replace-path /_matrix(/.*) \\1"), "prefix-stripped"),
        "the query taken away": (_haproxy_rule("set-uri %[path]"), "query-lost"),
        "Authorization taken away": (_haproxy_rule("del-header authorization"), "authorization-lost"),
        "a short time-out": (("timeout server 120s", "timeout server 1s"), "long-poll-cut"),
        "not the whole chain": (("example.org.pem", "leaf.pem"), "certificate-intermediate-missing"),
        "a wrong port": (WRONG_PORT, "proxy-no-backend"),
    },
    "apache": {
        "no nocanon": (("8008/_matrix nocanon", "8008/_matrix"), "path-decoded"),
        "no encoded slashes": (
            ("AllowEncodedSlashes NoDecode", "AllowEncodedSlashes Off"),
            "request-refused-on-the-way",
        ),
        "the prefix taken away": (("8008/_matrix nocanon", "8008/ nocanon"), "prefix-stripped"),
        "no Host": (("ProxyPreserveHost On", "ProxyPreserveHost Off"), "host-changed"),
        "a short time-out": (("ProxyTimeout 120", "ProxyTimeout 1"), "long-poll-cut"),
        "not the whole chain": (LEAF_ALONE, "certificate-intermediate-missing"),
        "a wrong port": (WRONG_PORT, "proxy-no-backend"),
    },
}

MISTAKES: dict[str, tuple[Mistake, ...]] = {
    program: tuple(Mistake(name, old, new, code) for name, ((old, new), code) in mistakes.items())
    for program, mistakes in TABLE.items()
}
