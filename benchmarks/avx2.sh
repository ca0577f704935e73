#!/bin/sh
# Run Python on an emulated x86-64 processor with AVX2 and without AVX-512 and VNNI:
#
#     benchmarks/avx2.sh .venv/bin/python -m pytest tests/exporters/test_precision.py
#
# QEMU's user mode (7.2 or later; Debian: apt install qemu-user) computes every instruction, so that
# ONNX Runtime picks its AVX2 code and gives its results, ten to thirty times slower: times mean
# nothing. Processes that Python starts with sys.executable are emulated, too. /proc/cpuinfo is that
# of such a processor, for which a mount namespace is needed: root, or one that users may have.
set -eu
if [ "$#" -eq 0 ]; then
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 2
fi
command -v qemu-x86_64 > /dev/null || { echo "QEMU is missing: apt install qemu-user" >&2; exit 2; }
python=$(command -v "$1")
shift
# Beside the real one, where Python finds its environment (pyvenv.cfg).
emulated="$(dirname "$python")/python-avx2"
cpuinfo=$(mktemp)
trap 'rm -f "$emulated" "$cpuinfo"' EXIT
cat > "$emulated" << END
#!/bin/sh
exec qemu-x86_64 -cpu Haswell,-pcid,-x2apic,-tsc-deadline,-hle,-invpcid,-rtm -0 "\$0" "$(readlink -f "$python")" "\$@"
END
chmod +x "$emulated"
flags="fpu sse sse2 ssse3 sse4_1 sse4_2 popcnt avx f16c fma avx2 bmi1 bmi2"
for number in $(seq 0 $(($(nproc) - 1))); do
    printf 'processor\t: %s\nmodel name\t: QEMU Haswell\nflags\t\t: %s\n\n' "$number" "$flags"
done > "$cpuinfo"
# shellcheck disable=SC2016
unshare --mount --map-root-user sh -c 'mount --bind "$0" /proc/cpuinfo && exec "$@"' \
    "$cpuinfo" "$emulated" "$@"
