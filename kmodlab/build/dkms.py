"""Build a package as dkms does: its dkms.conf is a shell script, and is run as one, in the sandbox, for each kernel."""

from __future__ import annotations

import os
import re
from pathlib import Path

from kmodlab.build.modules import Part
from kmodlab.ground import sandbox
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import read_regular, scratch
from kmodlab.ground.sandbox import Limits

FILE = "dkms.conf"
READING = Limits(seconds=30, output=sandbox.MIB)
LARGEST = 1 << 20
"""Bytes of what a dkms.conf names."""
INSIDE = ".dkms"
"""The folder of the work in which a package is built; what it makes is put where its dkms.conf says, from its top."""
EXCLUDED = "kmodlab: excluded: "
"""What the build says where the package is not for a kernel, and then why."""
EXCLUSION = re.compile(rf"^{EXCLUDED}(.*)$", re.MULTILINE)
BUILD = r"""#!/bin/bash
# dkms-build list|build RELEASE ARCH JOBS, in a folder with a dkms.conf: what dkms(8) says of it, and no more.
what=$1 kernelver=$2 arch=$3 parallel_jobs=$4
kernel_source_dir=/lib/modules/$kernelver/build
source_folder=$PWD
dkms_tree=/mnt/.dkms source_tree=/usr/src
say() { echo "kmodlab: $*" >&2; }
read_conf() {
    # shellcheck disable=SC1090,SC1091
    . "$source_folder/dkms.conf" || { say "dkms.conf is no shell script: bash ends with status $?"; exit 8; }
    module=$PACKAGE_NAME module_version=$PACKAGE_VERSION
}
read_conf </dev/null
if [[ ! $PACKAGE_NAME || ! $PACKAGE_VERSION ]]; then say "dkms.conf names no PACKAGE_NAME or no PACKAGE_VERSION"; exit 8; fi
build=$dkms_tree/$module/$module_version/build
number=0
for index in "${!BUILT_MODULE_NAME[@]}" "${!DEST_MODULE_NAME[@]}" "${!DEST_MODULE_LOCATION[@]}"; do
    ((index >= number)) && number=$((index + 1))
done
for ((index = 0; index < number; index++)); do
    built[index]=${BUILT_MODULE_NAME[$index]}
    [[ ! ${built[$index]} && $number = 1 ]] && built[index]=$PACKAGE_NAME
    place=${BUILT_MODULE_LOCATION[$index]}
    place=${place#/} place=${place%/}
    paths[index]=${place:+$place/}${built[$index]}
done
if [[ $what = list ]]; then
    printf '%s\n' "${paths[@]}" >/mnt/answer
    exit 0
fi

older() { [[ $1 != "$2" && $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) = "$1" ]]; }
excluded() { # KERNEL MIN MAX ARCH CONFIG [INDEX]: why it is not for this kernel
    [[ $1 && ! $kernelver =~ $1 ]] && echo "BUILD_EXCLUSIVE_KERNEL$6=\"$1\" does not match $kernelver" && return
    [[ $2 ]] && older "${kernelver%%-*}" "$2" && echo "BUILD_EXCLUSIVE_KERNEL_MIN$6=\"$2\" is newer than $kernelver" && return
    [[ $3 ]] && older "$3" "${kernelver%%-*}" && echo "BUILD_EXCLUSIVE_KERNEL_MAX$6=\"$3\" is older than $kernelver" && return
    [[ $4 && ! $arch =~ $4 ]] && echo "BUILD_EXCLUSIVE_ARCH$6=\"$4\" does not match $arch" && return
    local word config=$kernel_source_dir/.config
    for word in $5; do
        case $word in
        !*) grep -q "^${word#!}=[ym]" "$config" && echo "BUILD_EXCLUSIVE_CONFIG$6=\"$5\": this kernel has ${word#!}" && return ;;
        *) grep -q "^$word=[ym]" "$config" || { echo "BUILD_EXCLUSIVE_CONFIG$6=\"$5\": this kernel has no $word" && return; } ;;
        esac
    done
}
declare -p BUILD_EXCLUSIVE_KERNEL 2>/dev/null | grep -q '^declare -a' && per_module=1
why=$(excluded "${BUILD_EXCLUSIVE_KERNEL[0]}" "${BUILD_EXCLUSIVE_KERNEL_MIN[0]}" "${BUILD_EXCLUSIVE_KERNEL_MAX[0]}" \
    "${BUILD_EXCLUSIVE_ARCH[0]}" "${BUILD_EXCLUSIVE_CONFIG[0]}")
if [[ $why && ! $per_module ]]; then
    echo "kmodlab: excluded: dkms.conf: $why"
    exit 77
fi
mkdir -p "$build" && ln -s "$source_folder" "${build%/build}/source" || exit 1
find "$source_folder" -mindepth 1 -maxdepth 1 ! -name .dkms -exec cp -a -t "$build" {} + || exit 1
cd "$build" && export PWD || exit 1
for index in "${!PATCH[@]}"; do
    if [[ ! ${PATCH_MATCH[$index]} || $kernelver =~ ${PATCH_MATCH[$index]} ]]; then
        say "applies patches/${PATCH[$index]}"
        command -v patch >/dev/null || { say "patch: command not found"; exit 6; }
        patch -p1 -i "patches/${PATCH[$index]}" || { say "error: patches/${PATCH[$index]} of dkms.conf does not apply"; exit 6; }
    fi
done
run() { # NAME SCRIPT
    [[ $2 ]] || return 0
    local program=${2%% *}
    [[ -x $build/$program ]] || { say "$1: $program is no program of the package"; return 0; }
    say "$1: $2"
    (eval "exec $build/$2") || { say "error: $1 of dkms.conf ends with status $?"; exit 1; }
}
run PRE_BUILD "$PRE_BUILD" || exit
command=
for index in "${!MAKE[@]}"; do
    if [[ ! ${MAKE_MATCH[$index]} ]]; then
        [[ $command ]] || command=${MAKE[$index]}
    elif grep -qE -- "${MAKE_MATCH[$index]}" <<<"$kernelver"; then
        command=${MAKE[$index]}
    fi
done
[[ $command ]] || command="make -C $kernel_source_dir M=$build"
case $command in make | "make "*) command="make -j$parallel_jobs KERNELRELEASE=$kernelver${command#make}" ;; esac
say "$command"
eval "$command"
status=$?
((status)) && say "error: MAKE of dkms.conf ends with status $status"
((status)) || run POST_BUILD "$POST_BUILD" || status=1
for index in "${!paths[@]}"; do
    path=${paths[$index]}
    own=$(excluded "${BUILD_EXCLUSIVE_KERNEL[$index]}" "${BUILD_EXCLUSIVE_KERNEL_MIN[$index]}" \
        "${BUILD_EXCLUSIVE_KERNEL_MAX[$index]}" "${BUILD_EXCLUSIVE_ARCH[$index]}" "${BUILD_EXCLUSIVE_CONFIG[$index]}" "[$index]")
    if [[ $own && $per_module ]]; then
        echo "kmodlab: excluded: dkms.conf: $own"
    elif ((status == 0)) && [[ -f $build/$path.ko ]]; then
        mkdir -p "$(dirname "$source_folder/$path")" && cp "$build/$path.ko" "$source_folder/$path.ko"
    elif ((status == 0)); then
        say "error: the build of dkms.conf makes no $path.ko"
        status=7
    fi
done
exit $status
"""


def named(root: Path | None, release: str, part: Part) -> list[str]:
    """The paths, without suffix, of the modules that a part's dkms.conf names for a kernel. LabError where it cannot be read."""
    with scratch("question") as work, scratch("tools") as tools:
        tools.chmod(0o755)
        (tools / "dkms-build").write_text(BUILD)
        (tools / "dkms-build").chmod(0o755)
        inside = Path("/srv")
        command = [
            "sh",
            "-c",
            'cd "$1" && exec dkms-build list "$2" "$3" 1',
            "sh",
            str(inside / part.top),
            release,
            os.uname().machine,
        ]
        answer = sandbox.run(
            root, command, work=work, read_only={part.root: inside, tools: Path("/usr/local/sbin")}, limits=READING
        )
        if answer.status or not (work / "answer").exists():
            raise LabError(f"MODULES: {part.folder.name}/{FILE} cannot be read: {answer.last_word.removeprefix('kmodlab: ')}")
        lines = read_regular(work / "answer", LARGEST).decode(errors="replace").splitlines()
    return [os.path.normpath(line) for line in dict.fromkeys(lines) if line and not line.endswith("/")]


def excluded(log: str) -> str:
    """Why a package is not for a kernel, in its own words; empty where it is."""
    found = EXCLUSION.search(log)
    return found[1] if found else ""
