// SPDX-License-Identifier: MIT
// split_gguf: a GGUF file cut into shards, as gguf-split does it.
#pragma once

#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_writer.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace bitnet_tests {

/// The ending of shard `number`, from 0, "-00001-of-00003.gguf".
[[nodiscard]] inline std::string shard_ending(std::size_t number, std::size_t count) {
    const auto five = [](std::size_t n) { return std::string(n < 10 ? 4 : 3, '0') + std::to_string(n); };
    return "-" + five(number + 1) + "-of-" + five(count) + ".gguf";
}

/// Shard `number` of `count`: all metadata in the first, about as many tensors in each.
[[nodiscard]] inline bitnet::buffer<std::byte> shard_of(const bitnet::gguf_file& file, std::size_t number,
                                                        std::size_t count) {
    bitnet::gguf_writer writer;
    for (const bitnet::gguf_value& entry : file.metadata()) {
        if (number == 0) {
            writer.add(entry);
        }
    }
    writer.add("split.no", static_cast<std::uint16_t>(number));
    writer.add("split.count", static_cast<std::uint16_t>(count));
    writer.add("split.tensors.count", static_cast<std::int32_t>(file.tensors().size()));
    const std::size_t first = file.tensors().size() * number / count;
    const std::size_t end = file.tensors().size() * (number + 1) / count;
    for (const bitnet::gguf_tensor& tensor : file.tensors().subspan(first, end - first)) {
        writer.add_tensor(tensor.name, tensor.type, std::span(tensor.dims).first(tensor.rank), tensor.bytes);
    }
    auto made = writer.write_memory();
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    return *std::move(made);
}

} // namespace bitnet_tests
