#!/bin/sh
# Prepare this machine: the Debian packages that are missing, a virtual environment, the collection's link.
# Run by make; does nothing when everything is there. Status 2, and one line that says what to do, where it may not.
set -eu
cd "$(dirname "$0")"

# What each command needs beyond a minimal Debian: QEMU and its firmware, image makers (for other architectures, too), the sandbox, module tools,
# consoles of boards (microcom), and for `make test` a token to sign with.
packages="arch-test bubblewrap cpio debian-archive-keyring erofs-utils kmod libengine-pkcs11-openssl libseccomp2 make microcom mmdebstrap
openssh-client ovmf python3-venv qemu-efi-aarch64 qemu-system-arm qemu-system-x86 qemu-user-static sbsigntool softhsm2 zstd"

fail() {
	echo "kmodlab: $*" >&2
	exit 2
}

missing=""
for package in $packages; do
	case "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" in
	installed) ;;
	*) missing="$missing $package" ;;
	esac
done
if [ -n "$missing" ]; then
	install="apt-get install --yes --no-install-recommends$missing"
	if [ "$(id -u)" = 0 ]; then
		sudo=""
	elif sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null; }; then
		sudo="sudo"
	else
		fail "packages are missing, and installing them needs root: sudo apt-get update && sudo $install"
	fi
	echo "kmodlab: installing$missing" >&2
	log=$(mktemp)
	{ $sudo apt-get update && $sudo env DEBIAN_FRONTEND=noninteractive $install; } >"$log" 2>&1 </dev/null || {
		grep -h '^E:' "$log" | head -n 3 >&2
		fail "apt could not install them (all it said: $log); mend that, or run: sudo apt-get update && sudo $install"
	}
	rm -f "$log"
fi

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
	fail "$python is older than 3.11; set PYTHON to a newer one, as in: make PYTHON=python3.12 matrix"

want=$(cat requirements.lock pyproject.toml setup.sh | sha256sum)
if [ "$(cat .venv/ready 2>/dev/null || true)" != "$want" ]; then
	echo "kmodlab: making the virtual environment .venv" >&2
	[ -x .venv/bin/python ] || "$python" -m venv .venv
	pip=".venv/bin/python -m pip install --quiet --disable-pip-version-check"
	# Nothing is taken whose hash is not in the lock: not from a mirror, and not from PyPI.
	{ $pip --require-hashes --requirement requirements.lock && $pip --no-deps --no-build-isolation --editable .; } >.venv/pip.log 2>&1 ||
		fail "pip could not install requirements.lock: $(grep -h '^ERROR' .venv/pip.log | tail -n 1); see .venv/pip.log, check the network"
	echo "$want" >.venv/ready
fi

# A checkout is the collection kmodlab.lab: Ansible finds it through this link (ansible.cfg, collections_path).
mkdir -p .cache/collections/ansible_collections/kmodlab
ln -sfn ../../../.. .cache/collections/ansible_collections/kmodlab/lab
