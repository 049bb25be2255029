// SPDX-License-Identifier: MIT
// model_file: metadata and tensors of a model as one gguf_file, together with the bytes that they point into.
#ifndef BITNET_CHECKPOINT_MODEL_FILE_HPP
#define BITNET_CHECKPOINT_MODEL_FILE_HPP

#include <bitnet/checkpoint/shard.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/file_handle.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/mapped_file.hpp>
#include <bitnet/io/page_mode.hpp>
#include <bitnet/io/progress_meter.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// The metadata and tensors of a model and all that they point into. Move-only; what is in it stays where it is.
struct opened_checkpoint {
    gguf_file gguf;
    std::vector<byte_source> sources; ///< the files that hold tensors
    buffer<std::byte> made;           ///< a GGUF file in memory: metadata and small tensors
    std::vector<std::string> names;   ///< of the tensors in `sources`
    std::vector<std::string> notes;   ///< what was decided or passed over, one sentence each
    bool is_by_path = false;          ///< whether the library found the files itself
};

} // namespace detail

struct checkpoint_options {
    /// Whether the tokenizer's files are read.
    bool load_tokenizer = true;
    /// Name of the pre-tokenizer, instead of what tokenizer.json amounts to: see tokenizer_json_files.
    std::string_view pre_tokenizer = {};
    /// Whether the files that hold tensors are mapped or copied.
    page_mode pages = page_mode::mapped;
    /// What copies of files, and all that is read from them, have their memory from; null: operator new.
    const memory_source* memory = nullptr;
    /// For the library: what is told of copies.
    detail::progress_meter* progress = nullptr;
};

/// A model's file, or the files of its directory, opened and parsed. Owns all that gguf() points into. Immutable;
/// move-only; pointers and spans that it gave stay valid when it moves.
class model_file {
public:
    /// Opens what is at `utf8_path`: a GGUF file, with all others of its model if it is the first shard of a split one;
    /// or the folder of a Hugging Face checkpoint, to which alone the options of the tokenizer apply.
    /// \return as byte_source::open or, for copies, read, gguf_file::parse, open_split_gguf and open_hugging_face.
    /// Defined in open_model_file.hpp.
    [[nodiscard]] static inline result<model_file> open(std::string_view utf8_path,
                                                        const checkpoint_options& options = {});

    /// Reads the GGUF file in `source`, which the model_file takes over. \return what gguf_file::parse returns, and
    /// errc::invalid_argument for a shard of a split model: bytes do not tell where the others are.
    [[nodiscard]] static result<model_file> open(byte_source source, const memory_source* memory = nullptr) {
        return detail::guarded([&]() -> result<model_file> {
            auto parsed = gguf_file::parse(source.bytes(), source.name(), memory);
            if (!parsed) {
                return failed(parsed);
            }
            const auto shard = detail::shard_facts::read(*parsed);
            if (!shard) {
                return failed(shard);
            }
            if (shard->count > 1) {
                return detail::error_saying(errc::invalid_argument,
                                            {source.name(), ": is shard ", shard->number + 1, " of ", shard->count,
                                             " of a split model, which is opened by the path of its first shard"});
            }
            return model_file(*std::move(parsed), std::move(source));
        });
    }

    /// For the library: what is read from now on has its memory from there.
    void use(const memory_source* memory) noexcept { parts_.gguf.use(memory); }

    [[nodiscard]] const gguf_file& gguf() const noexcept { return parts_.gguf; }
    [[nodiscard]] const std::string& name() const noexcept { return parts_.gguf.name(); }
    /// What was decided or passed over while a directory was opened, one sentence each.
    [[nodiscard]] std::span<const std::string> notes() const noexcept { return parts_.notes; }
    /// The files that hold tensors: one GGUF file, the shards of a split one in their order, or those of a directory.
    [[nodiscard]] std::span<const byte_source> sources() const noexcept { return parts_.sources; }
    /// Bytes of all of them.
    [[nodiscard]] std::uint64_t size() const noexcept {
        std::uint64_t bytes = 0;
        for (const byte_source& source : parts_.sources) {
            bytes += source.bytes().size();
        }
        return bytes;
    }

    /// Whether the library found the files itself, by a path, and was not given bytes.
    [[nodiscard]] bool is_by_path() const noexcept { return parts_.is_by_path; }
    /// Whether all tensors of the files are mapped, so that their bytes are the system's to keep or drop.
    [[nodiscard]] bool is_mapped() const noexcept {
        return std::all_of(parts_.sources.begin(), parts_.sources.end(),
                           [](const byte_source& source) { return source.is_mapped(); });
    }
    /// Passes a hint on to all mappings.
    void advise(access_hint hint) const noexcept {
        for (const byte_source& source : parts_.sources) {
            source.advise(hint);
        }
    }
    /// byte_source::map_cached for all files.
    void map_cached() const noexcept {
        for (const byte_source& source : parts_.sources) {
            source.map_cached();
        }
    }
    /// byte_source::give_back for the file that `part` lies in. \return false also if it lies in none.
    bool give_back(std::span<const std::byte> part) const noexcept {
        // As numbers, because < on pointers into different files means nothing.
        const auto address = [](const std::byte* at) { return reinterpret_cast<std::uintptr_t>(at); };
        for (const byte_source& source : parts_.sources) {
            const auto all = source.bytes();
            if (address(all.data()) <= address(part.data()) &&
                address(part.data() + part.size()) <= address(all.data() + all.size())) {
                return source.give_back(part);
            }
        }
        return false;
    }

private:
    // Defined in open_model_file.hpp.
    [[nodiscard]] static inline detail::copy_progress copying(const checkpoint_options& options) noexcept;
    [[nodiscard]] static inline result<model_file> open_gguf(std::string_view utf8_path, page_mode pages,
                                                             const memory_source* memory,
                                                             detail::copy_progress progress = {});
    [[nodiscard]] static inline result<model_file> choose(model_file mapped, std::string_view utf8_path,
                                                          const checkpoint_options& options);

    explicit model_file(detail::opened_checkpoint parts) noexcept : parts_(std::move(parts)) {}
    model_file(gguf_file parsed, byte_source source) : parts_{std::move(parsed), {}, {}, {}, {}, false} {
        parts_.sources.push_back(std::move(source));
    }

    detail::opened_checkpoint parts_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
