#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What the ternary kernels for Arm cost, without an Arm machine: instructions of their inner loops as the compiler makes
# them, and the cycles that llvm-mca's models of some cores give them, for 128 weights times one token.
# Usage: arm_instructions.sh [COMPILER FLAG...]        Needed: a compiler for AArch64, llvm-mca, awk
# These are no measurements: caches and memory are left out, and a model is a model.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- aarch64-linux-gnu-g++ -O2
mca=$(compgen -c llvm-mca | sort -V | tail -n 1)
cores=(cortex-a55 cortex-a76 apple-m1)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cat >"$scratch/kernels.cpp" <<'EOF'
#include <bitnet/policy.hpp>
using namespace bitnet;
using namespace bitnet::detail;
#define MULTIPLY(Isa, Layout)                                                                                          \
    void multiply_##Isa##_##Layout(const Layout::view& w, std::size_t first, std::size_t count,                        \
                                   const activation_view& x, std::int32_t* y, std::size_t stride) {                    \
        kernel<isa::Isa, Layout>::multiply(w, first, count, x, y, stride);                                             \
    }
MULTIPLY(neon, i2s)
MULTIPLY(neon_dotprod, i2s)
MULTIPLY(neon_i8mm, i2s)
MULTIPLY(neon, base3)
MULTIPLY(neon_dotprod, base3)
MULTIPLY(neon, lookup2)
MULTIPLY(neon, lookup3)
EOF
"$@" -std=c++20 -Iinclude -S -o "$scratch/kernels.s" "$scratch/kernels.cpp"

# inner_loop SYMBOL OPCODE: the longest innermost loop with that instruction in functions whose mangled name matches.
inner_loop() {
    awk -v symbol="$1" -v opcode="$2" '
        function finish(   i, j, length_, whole, inner) {
            for (i = 0; i < branches; ++i) {
                inner = 1
                for (j = 0; j < branches; ++j)
                    if (j != i && start[j] >= start[i] && stop[j] <= stop[i]) inner = 0
                whole = 0
                for (j = start[i]; j <= stop[i]; ++j) whole += code[j] ~ "^" opcode "[ \t]"
                if (inner && whole && stop[i] - start[i] + 1 > most) {
                    most = stop[i] - start[i] + 1
                    body = ""
                    for (j = start[i]; j <= stop[i]; ++j) body = body code[j] "\n"
                }
            }
        }
        /^_Z[A-Za-z0-9_.]*:/ { if (wanted) finish(); wanted = $0 ~ symbol; lines = branches = 0; delete at; next }
        !wanted { next }
        /^\.L[A-Za-z0-9_]*:/ { sub(/:.*/, ""); at[$0] = lines; next }
        /^[ \t]+[a-z]/ {
            sub(/^[ \t]+/, ""); sub(/[ \t]*\/\/.*/, "")
            code[lines] = $0
            if ($1 ~ /^(b|b\.?[a-z][a-z]|cbn?z|tbn?z)$/ && $NF in at) { start[branches] = at[$NF]; stop[branches++] = lines }
            ++lines
        }
        END { if (wanted) finish(); printf "%s", body }' "$scratch/kernels.s"
}

# row NAME SYMBOL OPCODE PRODUCTS: PRODUCTS of a weight and an activation are what the loop makes in one turn.
row() {
    local core cycles
    inner_loop "$2" "$3" >"$scratch/loop.s"
    [ -s "$scratch/loop.s" ] || { echo "no loop with $3 in $2" >&2; return 1; }
    printf '| %s | %s |' "$1" "$(awk -v n="$4" 'END { printf "%.1f", NR * 128 / n }' "$scratch/loop.s")"
    for core in "${cores[@]}"; do
        cycles=$(sed '$d; s/0xffffffffffffff80/128/' "$scratch/loop.s" | # as gcc writes a byte
             "$mca" -mtriple=aarch64 -mcpu="$core" -mattr=+dotprod,+i8mm -iterations=200 |
            awk -v n="$4" '/^Total Cycles/ { printf "%.1f", $3 / 200 * 128 / n }')
        printf ' %s |' "$cycles"
    done
    echo
}

echo "$("$1" --version | head -n 1), ${*:2}; cycles by $mca, $("$mca" --version | sed -n 's/^ *\(.*LLVM version.*\)/\1/p')"
printf '\n| Kernel | instructions |'
printf ' %s |' "${cores[@]}"
printf '\n|---|--:|'
printf -- '--:|%.0s' "${cores[@]}"
echo
row 'i2_s, neon, one token' '3isa4neonE.*13multiply_rowsILm4ELm1E' smlal $((4 * 128))
row 'i2_s, neon, many tokens' '3isa4neonE.*13multiply_rowsILm2ELm4E' smlal $((2 * 4 * 128))
row 'lookup2, neon, one token' 'lookup_group_neon.*18lookup2_block_neonEE3sum' tbl $((32 * 16))
row 'lookup3, neon, one token' 'lookup_group_neon.*18lookup3_block_neonEE3sum' tbl $((32 * 24))
row 'base3, neon, one token' '3isa4neonE.*5base3EE4tileILm4E' 'sml[as]l' $((4 * 80))
row 'i2_s, neon_dotprod, one token' '12neon_dotprod.*13multiply_rowsILm4ELm1E' sdot $((4 * 128))
row 'i2_s, neon_dotprod, many tokens' '12neon_dotprod.*13multiply_rowsILm2ELm4E' sdot $((2 * 4 * 128))
row 'base3, neon_dotprod, one token' '12neon_dotprod.*5base3EE4tileILm4E' sdot $((4 * 80))
row 'i2_s, neon_i8mm, many tokens' '9neon_i8mm.*5tilesILm4E' smmla $((8 * 8 * 32))
