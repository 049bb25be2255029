// SPDX-License-Identifier: MIT
// Opens a GGUF file, the shards of a split one, or the folder of a Hugging Face checkpoint.
#ifndef BITNET_CHECKPOINT_OPEN_MODEL_FILE_HPP
#define BITNET_CHECKPOINT_OPEN_MODEL_FILE_HPP

#include <bitnet/checkpoint/hugging_face.hpp>
#include <bitnet/checkpoint/layout_for.hpp>
#include <bitnet/checkpoint/model_file.hpp>
#include <bitnet/checkpoint/shard.hpp>
#include <bitnet/checkpoint/split_gguf.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/available_memory.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/copy_pace.hpp>
#include <bitnet/io/file_handle.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/page_choice.hpp>
#include <bitnet/io/page_mode.hpp>
#include <bitnet/io/progress_meter.hpp>
#include <bitnet/kernel/layout_table.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// Whether kernels multiply the file's ternary tensors where they lie, at least in one layout.
[[nodiscard]] inline bool is_read_in_place(const gguf_file& file) {
    const auto type = ternary_type_of(file);
    return type && layout_of_type(*type, i2s_order::planar_128) != nullptr;
}

} // namespace detail

inline result<model_file> model_file::open(std::string_view utf8_path, const checkpoint_options& options) {
    return detail::guarded([&]() -> result<model_file> {
        const bool is_folder = utf8_path.find('\0') == std::string_view::npos &&
                               detail::operating_system::is_directory(std::string(utf8_path));
        auto opened = [&]() -> result<model_file> {
            if (!is_folder) {
                return open_gguf(utf8_path, options.pages, options.memory, copying(options));
            }
            auto made = detail::open_hugging_face(utf8_path, options);
            return made ? result<model_file>(model_file(*std::move(made))) : failed(made);
        }();
        if (opened && options.pages == page_mode::automatic && opened->is_mapped()) {
            opened = choose(*std::move(opened), utf8_path, options);
        }
        if (opened) {
            opened->parts_.is_by_path = true;
        }
        if (opened && options.pages == page_mode::copied) {
            opened->parts_.notes.push_back(
                detail::sentence({"pages: the ", opened->size(), " bytes of the model were copied into memory"}));
        }
        return opened;
    });
}

inline detail::copy_progress model_file::copying(const checkpoint_options& options) noexcept {
    return options.progress != nullptr ? options.progress->copying() : detail::copy_progress();
}

/// Mapped unless `pages` says copied.
inline result<model_file> model_file::open_gguf(std::string_view utf8_path, page_mode pages,
                                                const memory_source* memory, detail::copy_progress progress) {
    auto source = byte_source::open(utf8_path, pages, memory, progress);
    if (!source) {
        return failed(source);
    }
    auto parsed = gguf_file::parse(source->bytes(), source->name(), memory);
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
    auto opened = detail::open_split_gguf(*std::move(source), *std::move(parsed), *shard, pages, progress);
    return opened ? result<model_file>(model_file(*std::move(opened))) : failed(opened);
}

/// page_mode::automatic: `mapped`, or a copy of it where the rule says so and memory and disk are fast enough. Folders
/// stay mapped: their weights are repacked.
inline result<model_file> model_file::choose(model_file mapped, std::string_view utf8_path,
                                             const checkpoint_options& options) {
    auto choice = detail::choose_pages(
        {mapped.size(), detail::is_read_in_place(mapped.gguf()), detail::has_huge_pages(), detail::available_memory()});
    if (choice.pages == page_mode::copied) {
        detail::copy_pace pace(copying(options));
        auto copied = open_gguf(utf8_path, page_mode::copied, options.memory, pace.progress());
        if (!copied && options.progress != nullptr && !options.progress->is_cancelled()) {
            options.progress->forget_copy();
        }
        if (copied) {
            mapped = *std::move(copied);
        } else if (options.progress != nullptr && options.progress->is_cancelled()) {
            return options.progress->cancelled(utf8_path);
        } else if (copied.error().code == errc::out_of_memory) {
            choice.note = detail::sentence({"pages: mapped, because a copy failed: ", copied.error().message});
        } else if (copied.error().code == errc::cancelled) {
            choice.note = pace.note();
        } else {
            return failed(copied);
        }
    }
    if (!choice.note.empty()) {
        mapped.parts_.notes.push_back(std::move(choice.note));
    }
    return mapped;
}

} // namespace bitnet::inline BITNET_ABI

#endif
