// SPDX-License-Identifier: MIT
// All of the library in a program that asks for many warnings.
#include <bitnet/bitnet.hpp>

using laptop = bitnet::policy<bitnet::isa::scalar>::with_kv<std::int8_t>;
template struct bitnet::compiled_for<bitnet::in_all_layouts<bitnet::any_cpu>>;
template class bitnet::model<laptop>;
template class bitnet::session<laptop>;
template class bitnet::batch<laptop>;
