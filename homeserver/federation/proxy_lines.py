"""The line to change in the configuration of each common reverse proxy, by what is to be mended. Data for remedies."""

from __future__ import annotations

PROXIES = ("nginx", "Apache", "Caddy", "HAProxy", "Traefik")

LINES: dict[str, tuple[str, str, str, str, str]] = {
    "path": (
        "no path and no slash after the port in proxy_pass",
        "AllowEncodedSlashes NoDecode, and nocanon at ProxyPass",
        "no uri directive or handle_path",
        "no url_dec, no normalize-uri and no replace-path",
        "no replacePath or stripPrefix; encodedCharacters.allowEncodedSlash: true",
    ),
    "prefix": (
        "no path and no slash after the port in proxy_pass",
        "the same path twice: ProxyPass /_matrix http://127.0.0.1:8008/_matrix nocanon",
        "handle or reverse_proxy /_matrix/*, not handle_path",
        "no replace-path and no set-path",
        "no stripPrefix, addPrefix or replacePath middleware",
    ),
    "slashes": (
        "merge_slashes off",
        "MergeSlashes Off",
        "no uri path_regexp",
        "no normalize-uri path-merge-slashes",
        "entryPoints.websecure.http.sanitizePath: false",
    ),
    "twice": (
        "no variable made of $uri in proxy_pass; $request_uri if there must be one",
        "nocanon at ProxyPass, and no RewriteRule without [NE]",
        "no rewrite of {path}",
        "no url_enc",
        "no replacePathRegex",
    ),
    "query": (
        "no rewrite with a ? at its end; $request_uri in place of $uri",
        "no RewriteRule with a ? in its target; [QSA] if there must be one",
        "no uri or rewrite directive",
        "no set-query and no set-uri",
        "no replacePathRegex or redirectRegex",
    ),
    "host": (
        "proxy_set_header Host $http_host",
        "ProxyPreserveHost On",
        "no header_up Host",
        "no set-header host",
        "passHostHeader: true",
    ),
    "authorization": (
        "no auth_basic, and no proxy_set_header Authorization",
        "no AuthType, and no RequestHeader unset Authorization",
        "no basic_auth, and no header_up -Authorization",
        "no del-header authorization",
        "no basicAuth or forwardAuth middleware",
    ),
    "time-out": (
        "proxy_read_timeout 120s",
        "ProxyTimeout 120",
        "no response_header_timeout or read_timeout under 120s",
        "timeout server 120s",
        "forwardingTimeouts.responseHeaderTimeout and respondingTimeouts.writeTimeout: 0 or above 120s",
    ),
    "upload": (
        "client_max_body_size {size}M",
        "LimitRequestBody {bytes}",
        "request_body max_size {size}MiB",
        "no rule on req.body_size or content-length",
        "buffering.maxRequestBodyBytes: {bytes}",
    ),
    "client address": (
        "proxy_set_header X-Forwarded-For $remote_addr",
        "ProxyAddHeaders On",
        "no header_up -X-Forwarded-For",
        "option forwardfor",
        "nothing: it says so by itself",
    ),
}


def lines(topic: str, maker: str = "", **values: object) -> str:
    """What to write or to leave out in each of the proxies, or in the one that an answer came from.

    maker: what the answer calls its server, as `nginx/1.22`; values: those that the lines of this topic leave open.
    """
    told = (each.format(**values) if values else each for each in LINES[topic])
    by_proxy = dict(zip(PROXIES, told, strict=True))
    known = [each for each in PROXIES if each.lower() in maker.lower()]
    return "; ".join(f"{proxy}: {by_proxy[proxy]}" for proxy in known or PROXIES)
