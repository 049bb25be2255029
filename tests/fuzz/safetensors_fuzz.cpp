// SPDX-License-Identifier: MIT
// Fuzzes the safetensors reader: what it accepts lies in the file, each byte of the data in exactly one tensor.
#include <bitnet/io/safetensors.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace {

void require(bool holds) {
    if (!holds) {
        __builtin_trap();
    }
}

void check(std::span<const std::byte> bytes) {
    const auto read = bitnet::safetensors_file::parse(bytes, "fuzz");
    if (!read) {
        require(!read.error().message.empty());
        return;
    }
    std::size_t end = bytes.size();
    for (std::size_t i = read->tensors().size(); i-- > 0;) {
        const auto& tensor = read->tensors()[i];
        require(read->find(tensor.name) == &tensor);
        require(tensor.rank <= bitnet::safetensors_tensor::most_dimensions);
        require(tensor.bytes.data() + tensor.bytes.size() == bytes.data() + end);
        end -= tensor.bytes.size();
        require(tensor.offset == end);
    }
    require(end >= sizeof(std::uint64_t));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto* first = reinterpret_cast<const std::byte*>(data);
    std::vector<std::byte> exact(first, first + size); // the sanitizer watches its end
    check(exact);
    // Again as a header of that length, so that the fuzzer need not find the eight bytes in front.
    const std::uint64_t length = size;
    exact.insert(exact.begin(), sizeof(length), std::byte{0});
    std::memcpy(exact.data(), &length, sizeof(length));
    check(exact);
    return 0;
}
