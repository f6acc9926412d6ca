"""The ARGs that a Dockerfile may use without a value from the caller.

platform_values(target, build)      TARGETPLATFORM, BUILDOS and the like: in scope of FROM, and of a stage that declares them
PROXIES                             may be given, and used by RUN, without being declared; not part of the history or the cache
"""

from __future__ import annotations

from ..image.platform import Platform

__all__ = ["PROXIES", "platform_values"]

_PROXY = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PROXIES = frozenset(_PROXY) | frozenset(name.lower() for name in _PROXY)


def platform_values(target: Platform, build: Platform, *, stage: str = "default") -> dict[str, str]:
    """Return the values of the platform ARGs.

    :param target: the platform of the image
    :param build: the platform of the machine that builds
    :param stage: the --target of the build
    """
    values = {"TARGETSTAGE": stage}
    for prefix, platform in (("TARGET", target), ("BUILD", build)):
        values[f"{prefix}PLATFORM"] = "/".join(part for part in (platform.os, platform.architecture, platform.variant) if part)
        values[f"{prefix}OS"] = platform.os
        values[f"{prefix}ARCH"] = platform.architecture
        values[f"{prefix}VARIANT"] = platform.variant
    return values
