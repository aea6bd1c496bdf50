#!/usr/bin/env bash
#
# Run a command on an emulated CPU that has AVX-512.
#
# For checking AVX-512 code on a machine whose own CPU lacks AVX-512.  The
# command runs with Python 3.11 under a real Linux kernel inside the Bochs PC
# emulator, which executes AVX-512 (EVEX) instructions in software: about forty
# million instructions a second, with half a minute or more to boot.
#
#   emulate_avx512.sh SITE_DIR FILES_DIR 'command to run'
#
#   SITE_DIR   Python 3.11 packages, made by `pip install --target SITE_DIR ...`;
#              on PYTHONPATH in the guest (as /site)
#   FILES_DIR  copied to /job in the guest, where the command starts
#   command    run by the guest's sh (busybox); python3 is Python 3.11
#
# Prints the command's output (stdout and stderr together) as it comes, and
# exits with the command's exit code, or with
#   124  the command did not finish within TIMEOUT seconds
#   125  the emulator could not be set up, or stopped before the command ended
# Nothing written in the guest is kept.  Output is slow: some 3 KB a second.
#
# Bochs 2.7 wrongly raises SIGILL for gathers and scatters whose index register
# is one of zmm16 to zmm31 (in xmm and ymm form too).  numpy's OpenBLAS has such
# instructions for AVX-512, so the guest makes it use its AVX2 code instead
# (OPENBLAS_CORETYPE=Haswell), which changes nothing for the code under test.
# Nor does its XRSTOR take what the dynamic linker saves when a function is first
# called, so all are bound at the start (LD_BIND_NOW=1).
#
# Environment:
#   TIMEOUT    seconds the emulator may run (1200)
#   MEGS       the guest's memory in MiB (2048)
#   KERNEL     a Linux image (vmlinuz) to boot, instead of downloading Debian's
#
# For Debian 12 on x86-64.  Packages that are missing are installed with
# apt-get, which needs root; the kernel is downloaded, not installed.

set -Eeuo pipefail

TIMEOUT=${TIMEOUT:-1200}
MEGS=${MEGS:-2048}
KERNEL=${KERNEL:-}

# The one CPU model of Bochs 2.7 with AVX-512 that Linux 6.1 accepts: it turns
# AVX off for corei7_icelake_u, finding its XSAVE layout inconsistent.  For this
# model too the size given for the compacted layout is wrong, so the kernel is
# told not to use that layout (clearcpuid=xsavec,xsaves).
readonly CPU_MODEL=corei7_skylake_x

# Guest instructions per guest second.  Also the guest's TSC frequency, so the
# kernel is told it (tsc_early_khz, lpj) rather than left to measure it.
readonly IPS=50000000
readonly HZ=250    # the kernel's timer interrupts per second

readonly KERNEL_OPTIONS=(
    'console=ttyS0,115200' loglevel=4 nosmp nokaslr mitigations=off
    'clearcpuid=xsavec,xsaves' tsc=reliable tsc_early_khz=$((IPS / 1000)) lpj=$((IPS / HZ))
    random.trust_cpu=on audit=0 nowatchdog cryptomgr.notests
)

readonly PACKAGES=(
    bochs bochs-term bochsbios vgabios isolinux syslinux-common xorriso cpio
    busybox-static python3.11 libgomp1 libstdc++6 libgcc-s1 ncurses-base
)

say() { printf 'emulate_avx512: %s\n' "$*" >&2; }
die() { say "$*"; exit 125; }
trap 'die "line $LINENO failed: $BASH_COMMAND"' ERR

install_packages() {
    local package missing=()
    for package in "${PACKAGES[@]}"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
            missing+=("$package")
    done
    (( ${#missing[@]} )) || return 0
    say "installing ${missing[*]}"
    { apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >&2 ||
        die "could not install: ${missing[*]}"
}

# The name of the package that linux-image-cloud-amd64 depends on, if apt knows it.
kernel_package() {
    apt-cache depends linux-image-cloud-amd64 2>/dev/null |
        awk '/Depends: linux-image-/ && !name { name = $2 } END { print name }' || true
}

# Put a Linux kernel at $1.
get_kernel() {
    local package dir=$scratch/kernel
    if [[ $KERNEL ]]; then
        cp -- "$KERNEL" "$1" || die "cannot read KERNEL: $KERNEL"
        return
    fi
    package=$(kernel_package)
    if [[ ! $package ]]; then
        apt-get update -qq >&2 || die "apt-get update failed"
        package=$(kernel_package)
        [[ $package ]] || die "apt knows no linux-image-cloud-amd64"
    fi
    mkdir "$dir"
    (
        cd "$dir"
        download=(apt-get download -qq -o APT::Sandbox::User=root "$package")
        "${download[@]}" >&2 || { apt-get update -qq && "${download[@]}"; } >&2
        dpkg-deb -x "$package"_*.deb .
    ) || die "could not download the kernel package $package"
    cp "$dir"/boot/vmlinuz-* "$1"
}

# Copy directory $1 to $2 by way of tar, with further arguments (exclusions).
copy_tree() {
    local from=$1 to=$2
    shift 2
    mkdir -p "$to"
    tar -C "$from" -cf - "$@" . | tar -C "$to" -xf - || die "could not copy $from"
}

# Copy to the guest in $1 the system's shared libraries that its own programs
# and libraries use, and the run-time libraries compiled code may load later.
copy_libraries() {
    local root=$1 library
    {
        find "$root" -type f \( -name '*.so' -o -name '*.so.*' -o -perm /111 \) \
            -exec sh -c 'ldd "$@" 2>/dev/null || true' sh {} + |
            awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\/.*ld-linux/ { print $1 }'
        ldconfig -p | awk '/x86-64/ && /lib(gomp|stdc\+\+|gcc_s|m|z|expat|ffi)\.so\.[0-9]+ / { print $NF }'
    } | sort -u | while read -r library; do
        case $library in
            "$root"/*) ;;
            *) cp -L --parents -- "$library" "$root" ;;
        esac
    done
}

# Make the guest's root directory at $1: site, files, command as on the command line.
make_root() {
    local root=$1 site=$2 files=$3 command=$4 python=/usr/lib/python3.11

    # /lib, /bin ... are links into /usr, as on Debian
    mkdir -p "$root"/{usr/{bin,lib,lib64,sbin},proc,sys,dev,etc,tmp,root}
    for dir in bin lib lib64 sbin; do ln -s "usr/$dir" "$root/$dir"; done

    cp "$(command -v busybox)" "$root/bin/busybox"
    cp /usr/bin/python3.11 "$root/usr/bin/"
    ln -s python3.11 "$root/usr/bin/python3"
    ln -s python3.11 "$root/usr/bin/python"
    copy_tree "$python" "$root$python" --exclude=./{test,idlelib,lib2to3,tkinter} \
        --exclude=./{turtledemo,ensurepip,pydoc_data,'config-*',sitecustomize.py}
    copy_tree "$site" "$root/site" --exclude='./numpy/*/tests' --exclude=./numpy/tests \
        --exclude=./numpy/_core/{include,lib} --exclude='*.pyi'
    copy_tree "$files" "$root/job"
    copy_libraries "$root"

    # byte-compile here what is not yet: it is slow in the guest
    /usr/bin/python3.11 -m compileall -q -s "$root" "$root$python" "$root/site" >/dev/null || true

    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    printf '%s\n' "$command" >"$root/command"
    cat >"$root/init" <<'INIT'
#!/bin/busybox sh
# The guest's first process.  ttyS0 is the kernel's console, ttyS1 takes the
# command's output and ttyS2 its exit code.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/shm
mount -t tmpfs tmpfs /dev/shm
for tty in ttyS1 ttyS2; do stty -F /dev/$tty 115200 raw; done
ip link set lo up
hostname guest
for flag in avx512f avx512bw avx512dq avx512vl; do
    grep -qw $flag /proc/cpuinfo || echo "emulate_avx512: the guest's CPU has no $flag"
done >/dev/ttyS1
export HOME=/root PATH=/usr/bin:/bin LANG=C.UTF-8
export PYTHONPATH=/site PYTHONUNBUFFERED=1 OPENBLAS_CORETYPE=Haswell LD_BIND_NOW=1
cd /job
{ sh /command </dev/null 2>&1; echo $? >/exit_code; } | cat >/dev/ttyS1
cat /exit_code >/dev/ttyS2
poweroff -f
INIT
    chmod +x "$root/init"
}

# Make a bootable CD image at $1 with the kernel $2 and the guest's root $3.
make_iso() {
    local iso=$1 kernel=$2 root=$3 tree=$scratch/cd
    mkdir "$tree"
    mv "$kernel" "$tree/vmlinuz"
    (cd "$root" && find . -print0 | cpio --null --create --format=newc --owner=0:0 --quiet) \
        >"$tree/initrd"
    cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$tree/"
    cat >"$tree/isolinux.cfg" <<CONFIG
default linux
prompt 0
label linux
  kernel vmlinuz
  append initrd=initrd ${KERNEL_OPTIONS[*]}
CONFIG
    xorriso -as mkisofs -quiet -o "$iso" -b isolinux.bin -c boot.cat \
        -no-emul-boot -boot-load-size 4 -boot-info-table "$tree" >"$scratch/xorriso.log" 2>&1 ||
        { cat "$scratch/xorriso.log" >&2; die "could not make the boot image"; }
}

# Boot the CD image $1, printing the command's output; set emulator_status.
run_bochs() {
    local share=/usr/share/bochs
    cat >"$scratch/bochsrc" <<CONFIG
cpu: model=$CPU_MODEL, count=1, ips=$IPS, reset_on_triple_fault=0, ignore_bad_msrs=1
clock: sync=none
memory: guest=$MEGS, host=$MEGS
romimage: file=$share/BIOS-bochs-latest
vgaromimage: file=$share/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path="$1", status=inserted
boot: cdrom
display_library: term
com1: enabled=1, mode=file, dev="$scratch/console"
com2: enabled=1, mode=file, dev="$scratch/output"
com3: enabled=1, mode=file, dev="$scratch/exit_code"
log: "$scratch/bochs.log"
panic: action=fatal
error: action=ignore
CONFIG
    echo continue >"$scratch/debugger"    # Debian's Bochs starts in its debugger
    touch "$scratch/console" "$scratch/output"
    TERM=vt100 timeout --signal=HUP --kill-after=5 "$TIMEOUT" \
        bochs -q -f "$scratch/bochsrc" -rc "$scratch/debugger" \
        </dev/null >"$scratch/screen" 2>&1 &
    emulator=$!
    tail -n +1 -f -s 0.5 --pid="$emulator" "$scratch/output" &
    local printer=$!
    emulator_status=0
    wait "$emulator" || emulator_status=$?
    emulator=
    wait "$printer"
}

# shellcheck disable=SC2317  # called by the EXIT trap
clean_up() {
    if [[ $emulator ]]; then
        kill -HUP "$emulator" 2>/dev/null || true
        wait "$emulator" || true
    fi
    rm -rf -- "$scratch"
}

main() {
    [[ $# -eq 3 ]] || die "usage: ${0##*/} SITE_DIR FILES_DIR 'command to run'"
    [[ -d $1 ]] || die "no such directory: $1"
    [[ -d $2 ]] || die "no such directory: $2"
    [[ $TIMEOUT =~ ^[0-9]+$ ]] || die "TIMEOUT is not a number of seconds: $TIMEOUT"

    local code
    emulator=
    scratch=$(mktemp -d)
    trap clean_up EXIT
    trap 'exit 130' INT TERM

    install_packages
    get_kernel "$scratch/vmlinuz"
    make_root "$scratch/root" "$1" "$2" "$3"
    make_iso "$scratch/boot.iso" "$scratch/vmlinuz" "$scratch/root"
    rm -rf "$scratch/root" "$scratch/cd"
    say "starting Bochs ($CPU_MODEL)"
    run_bochs "$scratch/boot.iso"

    code=$(tr -dc 0-9 2>/dev/null <"$scratch/exit_code" || true)
    [[ ! $code ]] || exit "$code"
    say "end of the guest's console:"
    tail -n 20 "$scratch/console" >&2
    if (( emulator_status == 124 || emulator_status == 137 )); then
        say "timed out: the command did not finish within $TIMEOUT seconds"
        exit 124
    fi
    grep -aE '^[0-9]+p' "$scratch/bochs.log" >&2 || true    # its panics
    die "Bochs stopped (status $emulator_status) before the command finished"
}

main "$@"
