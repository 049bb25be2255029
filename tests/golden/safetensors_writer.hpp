// SPDX-License-Identifier: MIT
// Writes safetensors files, well-formed ones and others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet_tests {

struct safetensors_entry {
    std::string name;
    std::string type; ///< "BF16", ...
    std::vector<std::uint64_t> shape;
    std::string data;
};

/// Any text as the header, any bytes after it, under any announced length.
[[nodiscard]] inline std::string safetensors_bytes(std::string_view header, std::string_view data,
                                                   std::uint64_t header_length) {
    std::string file(sizeof(header_length), '\0');
    std::memcpy(file.data(), &header_length, sizeof(header_length));
    return file.append(header).append(data);
}
[[nodiscard]] inline std::string safetensors_bytes(std::string_view header, std::string_view data) {
    return safetensors_bytes(header, data, header.size());
}

/// The tensors one after the other, under a header padded with spaces to a multiple of 8, as the format's own writers
/// do.
[[nodiscard]] inline std::string safetensors_bytes(std::span<const safetensors_entry> tensors) {
    std::string header = R"({"__metadata__":{"format":"pt"})";
    std::string data;
    for (const safetensors_entry& tensor : tensors) {
        std::string shape;
        for (const std::uint64_t dim : tensor.shape) {
            shape += (shape.empty() ? "" : ",") + std::to_string(dim);
        }
        header += ",\"" + tensor.name + "\":{\"dtype\":\"" + tensor.type + "\",\"shape\":[" + shape +
                  "],\"data_offsets\":[" + std::to_string(data.size()) + ",";
        data += tensor.data;
        header += std::to_string(data.size()) + "]}";
    }
    header += '}';
    header.resize((header.size() + 7) / 8 * 8, ' ');
    return safetensors_bytes(header, data);
}

} // namespace bitnet_tests
