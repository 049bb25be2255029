// SPDX-License-Identifier: MIT
// Opens a GGUF file, the shards of a split one, or the folder of a Hugging Face checkpoint.
#ifndef BITNET_CHECKPOINT_OPEN_MODEL_FILE_HPP
#define BITNET_CHECKPOINT_OPEN_MODEL_FILE_HPP

#include <bitnet/checkpoint/hugging_face.hpp>
#include <bitnet/checkpoint/model_file.hpp>
#include <bitnet/checkpoint/shard.hpp>
#include <bitnet/checkpoint/split_gguf.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/file_handle.hpp>
#include <bitnet/io/gguf_reader.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

inline result<model_file> model_file::open(std::string_view utf8_path, const checkpoint_options& options) {
    return detail::guarded([&]() -> result<model_file> {
        if (utf8_path.find('\0') == std::string_view::npos &&
            detail::operating_system::is_directory(std::string(utf8_path))) {
            auto opened = detail::open_hugging_face(utf8_path, options);
            return opened ? result<model_file>(model_file(*std::move(opened))) : failed(opened);
        }
        auto source = byte_source::open(utf8_path);
        if (!source) {
            return failed(source);
        }
        auto parsed = gguf_file::parse(source->bytes(), source->name());
        if (!parsed) {
            return failed(parsed);
        }
        const auto shard = detail::shard_facts::read(*parsed);
        if (!shard) {
            return failed(shard);
        }
        if (shard->count == 1) {
            return model_file(*std::move(parsed), *std::move(source));
        }
        auto opened = detail::open_split_gguf(*std::move(source), *std::move(parsed), *shard);
        return opened ? result<model_file>(model_file(*std::move(opened))) : failed(opened);
    });
}

} // namespace bitnet::inline BITNET_ABI

#endif
