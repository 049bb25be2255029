// SPDX-License-Identifier: MIT
// gguf_writer: writes GGUF files to memory or to disk; tensor data may be made while it is written.
#ifndef BITNET_IO_GGUF_WRITER_HPP
#define BITNET_IO_GGUF_WRITER_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/file_handle.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/gguf_value.hpp>

#include <algorithm>
#include <bit>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// Bytes that grow; reports the end of memory instead of throwing.
class growing_bytes {
public:
    explicit growing_bytes(const memory_source* memory) noexcept : source_(memory) {}
    growing_bytes(growing_bytes&& other) noexcept
        : source_(other.source_), memory_(std::move(other.memory_)), used_(std::exchange(other.used_, std::size_t{0})),
          ran_out_(other.ran_out_) {}
    growing_bytes& operator=(growing_bytes&& other) noexcept {
        std::swap(source_, other.source_);
        std::swap(memory_, other.memory_);
        std::swap(used_, other.used_);
        std::swap(ran_out_, other.ran_out_);
        return *this;
    }
    growing_bytes(const growing_bytes&) = delete;
    growing_bytes& operator=(const growing_bytes&) = delete;
    ~growing_bytes() = default;

    /// \return false if memory ended; then nothing is appended, now or later.
    bool append(std::span<const std::byte> more) {
        if (more.size() > memory_.size() - used_ && !grow(more.size())) {
            return false;
        }
        std::copy(more.begin(), more.end(), memory_.data() + used_);
        used_ += more.size();
        return true;
    }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return memory_.span().first(used_); }
    [[nodiscard]] bool ran_out() const noexcept { return ran_out_; }

private:
    bool grow(std::size_t more) {
        const auto wanted = checked_add(used_, more);
        const auto doubled = checked_multiply(memory_.size(), 2);
        auto larger = buffer<std::byte>::allocate((std::max)(wanted.value_or(UINT64_MAX), doubled.value_or(0)), "",
                                                  {source_, {memory_use::temporary, false}});
        if (ran_out_ || !larger) {
            ran_out_ = true;
            return false;
        }
        std::copy_n(memory_.data(), used_, larger->data());
        memory_ = *std::move(larger);
        return true;
    }
    const memory_source* source_;
    buffer<std::byte> memory_;
    std::size_t used_ = 0;
    bool ran_out_ = false;
};

} // namespace detail

struct gguf_writer_options {
    std::uint32_t version = 3;
    std::uint32_t alignment = 32;          ///< bytes; any other value than 32 is written as general.alignment
    const memory_source* memory = nullptr; ///< for metadata and files in memory; null: operator new
};

/// Collects metadata and tensors and writes them in the order in which they were added.
///
/// The first mistake (a key twice, data of the wrong size, no memory, ...) is kept and returned by write_file and
/// write_memory; what is added after it is ignored. Metadata is copied; tensor data is borrowed until it is written.
class gguf_writer {
public:
    explicit gguf_writer(gguf_writer_options options = {}) noexcept : options_(options), metadata_(options.memory) {
        if (options.version != 2 && options.version != 3) {
            fail(errc::invalid_argument, {"GGUF version ", options.version, ", only 2 and 3 can be written"});
        }
        if (!std::has_single_bit(options.alignment) || options.alignment < detail::least_gguf_alignment ||
            options.alignment > detail::largest_gguf_alignment) {
            fail(errc::bad_alignment, {"alignment ", options.alignment, ", it must be a power of two from ",
                                       detail::least_gguf_alignment, " to ", detail::largest_gguf_alignment});
        }
        if (options.alignment != 32) {
            add("general.alignment", options.alignment);
        }
    }

    /// A number or bool; its C++ type decides the type in the file (int is i32, unsigned u32, float f32).
    template <class T>
    requires std::is_arithmetic_v<T>
    void add(std::string_view key, T value) {
        if (begin_entry(key, detail::gguf_type_of<T>())) {
            put(value);
        }
    }
    void add(std::string_view key, std::string_view text) {
        if (begin_entry(key, gguf_type::string)) {
            put_string(text);
        }
    }

    /// An array of numbers.
    template <class T>
    requires std::is_arithmetic_v<T>
    void add_array(std::string_view key, std::span<const T> values) {
        if (begin_entry(key, gguf_type::array)) {
            put(static_cast<std::uint32_t>(detail::gguf_type_of<T>()));
            put(std::uint64_t{values.size()});
            metadata_.append(std::as_bytes(values));
        }
    }
    /// An array of strings: any range whose elements convert to std::string_view and that can be walked twice.
    template <class Strings>
    requires requires(const Strings& strings) {
        { *std::begin(strings) } -> std::convertible_to<std::string_view>;
    }
    void add_strings(std::string_view key, const Strings& strings) {
        if (begin_entry(key, gguf_type::array)) {
            put(static_cast<std::uint32_t>(gguf_type::string));
            std::uint64_t count = 0;
            for (auto at = std::begin(strings); at != std::end(strings); ++at) {
                ++count;
            }
            put(count);
            for (const auto& text : strings) {
                put_string(text);
            }
        }
    }

    /// An entry of another file, as it is.
    void add(const gguf_value& copied) {
        if (!begin_entry(copied.key, copied.type)) {
            return;
        }
        if (copied.type == gguf_type::array) {
            put(static_cast<std::uint32_t>(copied.element_type));
            put(copied.count);
        } else if (copied.type == gguf_type::string) {
            put(std::uint64_t{copied.bytes.size()});
        }
        metadata_.append(copied.bytes);
    }

    /// A tensor of `dims` (fastest first) whose data is `bytes`, which must live until the file is written.
    void add_tensor(std::string_view name, tensor_type type, std::span<const std::uint64_t> dims,
                    std::span<const std::byte> bytes) {
        if (add_tensor_entry(name, type, dims)) {
            tensors_.back().bytes = bytes;
            if (bytes.size() != tensors_.back().size) {
                fail(errc::invalid_argument, tensors_.back(),
                     {"got ", bytes.size(), " bytes, its shape and type need ", tensors_.back().size});
            }
        }
    }
    /// A tensor whose data `generator` makes while the file is written, in ascending chunks of at most 1 MiB; offsets
    /// count from the tensor's start. The context must live until then.
    /// \pre generator.read != nullptr
    void add_tensor(std::string_view name, tensor_type type, std::span<const std::uint64_t> dims,
                    read_callback generator) {
        assert(generator.read != nullptr);
        if (add_tensor_entry(name, type, dims)) {
            tensors_.back().generator = generator;
        }
    }

    /// Bytes of the file with what has been added so far.
    [[nodiscard]] std::uint64_t file_size() const noexcept { return data_offset() + data_size_; }

    /// The whole file in memory.
    /// \return the first mistake made with this writer, errc::out_of_memory, or io_error if a generator fails.
    [[nodiscard]] result<buffer<std::byte>> write_memory() const {
        return detail::guarded([&] { return write_buffer(); });
    }

    /// Writes `utf8_path`: first under that name with ".partial" after it, which takes the place of `utf8_path` when
    /// all is written and is removed if something fails, so that nobody sees half a file.
    /// \return the bytes written; the first mistake made with this writer; errc::io_error (a full disk, no permission,
    /// a generator that fails), file_not_found (no such folder) or not_a_file.
    [[nodiscard]] result<std::uint64_t> write_file(std::string_view utf8_path) const {
        return detail::guarded([&] { return write_to(utf8_path); });
    }

private:
    struct entry {
        std::string name;
        tensor_type type;
        std::vector<std::uint64_t> dims;
        std::uint64_t offset = 0;
        std::uint64_t size = 0; ///< bytes, without padding
        std::span<const std::byte> bytes;
        read_callback generator;
    };

    /// Writes in steps of 2 MiB at multiples of 2 MiB: a system that keeps what is written in pages of the size of the
    /// writes then maps the file in huge pages. (Linux 6.18, ext4, Zen 4: one core reads it at 27 instead of 20 GB/s.)
    static constexpr std::size_t step_bytes = std::size_t{2} << 20;
    struct step_writer {
        detail::file_handle& file;
        std::span<std::byte> step;
        std::size_t used = 0;

        [[nodiscard]] result<void> write(std::span<const std::byte> bytes) {
            result<void> written;
            while (!bytes.empty() && written) {
                const std::size_t now = (std::min)(bytes.size(), step.size() - used);
                std::copy_n(bytes.data(), now, step.data() + used);
                used += now;
                bytes = bytes.subspan(now);
                if (used == step.size()) {
                    written = finish();
                }
            }
            return written;
        }
        [[nodiscard]] result<void> finish() { return file.write(step.first(std::exchange(used, 0))); }
    };

    void fail(errc code, detail::sentence_parts what) {
        if (!failed_) {
            failed_ = true;
            detail::set_error(failure_, code, what, {});
        }
    }
    void fail(errc code, const entry& tensor, detail::sentence_parts what) {
        if (!failed_) {
            failed_ = true;
            detail::set_error(failure_, code, {"tensor ", detail::quoted{tensor.name}, ": "}, what);
        }
    }

    template <class T> void put(T value) { metadata_.append(std::as_bytes(std::span<const T, 1>(&value, 1))); }
    void put_string(std::string_view text) {
        put(std::uint64_t{text.size()});
        metadata_.append(std::as_bytes(std::span(text.data(), text.size())));
    }
    [[nodiscard]] bool begin_entry(std::string_view key, gguf_type type) {
        if (key.empty() || key.size() > gguf_file::longest_key || key.find('\0') != std::string_view::npos) {
            fail(errc::bad_key, {"the metadata key ", detail::quoted{key}, " of ", key.size(), " bytes must have 1 to ",
                                 gguf_file::longest_key, " bytes, none of them NUL"});
        }
        if (failed_) {
            return false;
        }
        if (!detail::has_memory_for([&] { keys_.emplace_back(key); })) {
            fail(errc::out_of_memory, {"the metadata key ", detail::quoted{key}, " could not be kept"});
            return false;
        }
        put_string(key);
        put(static_cast<std::uint32_t>(type));
        return true;
    }

    [[nodiscard]] bool add_tensor_entry(std::string_view name, tensor_type type, std::span<const std::uint64_t> dims) {
        bool added = false;
        if (!detail::has_memory_for([&] { added = try_to_add(name, type, dims); })) {
            fail(errc::out_of_memory, {"tensor ", detail::quoted{name}, ": it could not be kept"});
        }
        return added;
    }
    [[nodiscard]] bool try_to_add(std::string_view name, tensor_type type, std::span<const std::uint64_t> dims) {
        entry tensor{std::string(name), type, {dims.begin(), dims.end()}, data_size_, 0, {}, {}};
        if (name.empty() || name.size() > gguf_file::longest_tensor_name || name.find('\0') != std::string_view::npos) {
            fail(errc::bad_tensor_name, tensor,
                 {"a name of ", name.size(), " bytes; 1 to ", gguf_file::longest_tensor_name,
                  " are allowed, none of them NUL"});
        }
        tensor_dims shape{1, 1, 1, 1};
        const bool ranked =
            !dims.empty() && dims.size() <= shape.size() && std::count(dims.begin(), dims.end(), 0u) == 0;
        std::copy_n(dims.begin(), (std::min)(dims.size(), shape.size()), shape.begin());
        const bool writable = ranked && type != tensor_type::hf_packed;
        const auto bytes =
            writable && detail::fits_blocks(type, shape) ? detail::tensor_bytes(type, shape) : std::nullopt;
        const auto end = bytes ? detail::checked_add(data_size_, *bytes) : bytes;
        const auto padded = end ? detail::checked_align(*end, options_.alignment) : end;
        if (!padded || *padded > largest_data) {
            fail(errc::bad_shape, tensor,
                 {"a shape of ", dims.size(), " dimensions that the type ", name_of(type), " cannot have"});
        }
        if (failed_) {
            return false;
        }
        tensor.size = *bytes;
        tensors_.push_back(std::move(tensor));
        data_size_ = *padded;
        return true;
    }

    /// Whether all that was added can be written; `target` is what error messages call the file.
    [[nodiscard]] result<void> check_writable(std::string_view target) const {
        if (failed_) {
            return error{failure_.code, detail::sentence({target, ": ", failure_.message})};
        }
        if (metadata_.ran_out()) {
            return error{errc::out_of_memory,
                         detail::sentence({target, ": the metadata of more than ", metadata_.bytes().size(),
                                           " bytes could not be allocated"})};
        }
        std::vector<std::string_view> names(keys_.begin(), keys_.end());
        if (auto once = check_unique(names, target, errc::duplicate_key, "metadata key "); !once) {
            return once;
        }
        names.clear();
        for (const entry& tensor : tensors_) {
            names.push_back(tensor.name);
        }
        return check_unique(names, target, errc::duplicate_tensor, "tensor ");
    }

    [[nodiscard]] static result<void> check_unique(std::vector<std::string_view>& names, std::string_view target,
                                                   errc code, std::string_view what) {
        std::sort(names.begin(), names.end());
        const auto twice = std::adjacent_find(names.begin(), names.end());
        if (twice == names.end()) {
            return {};
        }
        return error{code, detail::sentence({target, ": ", what, detail::quoted{*twice}, " was added twice"})};
    }

    [[nodiscard]] std::uint64_t tensor_list_size() const noexcept {
        std::uint64_t size = 0;
        for (const entry& tensor : tensors_) {
            size += 8 + tensor.name.size() + 4 + 8 * tensor.dims.size() + 4 + 8;
        }
        return size;
    }
    [[nodiscard]] std::uint64_t data_offset() const noexcept {
        constexpr std::uint64_t header = 24;
        const std::uint64_t end = header + metadata_.bytes().size() + tensor_list_size();
        return detail::checked_align(end, options_.alignment).value_or(end);
    }

    [[nodiscard]] result<buffer<std::byte>> write_buffer() const {
        if (auto ready = check_writable("memory"); !ready) {
            return failed(ready);
        }
        auto memory = buffer<std::byte>::allocate(file_size(), "a GGUF file in memory",
                                                  {options_.memory, {memory_use::tables, false}});
        if (!memory) {
            return memory;
        }
        std::size_t used = 0;
        const auto sink = [&](std::span<const std::byte> bytes) {
            std::copy(bytes.begin(), bytes.end(), memory->data() + used);
            used += bytes.size();
            return result<void>{};
        };
        if (auto written = write_all(sink, "memory"); !written) {
            return failed(written);
        }
        return memory;
    }

    [[nodiscard]] result<std::uint64_t> write_to(std::string_view utf8_path) const {
        if (auto ready = check_writable(utf8_path); !ready) {
            return failed(ready);
        }
        const std::string path(utf8_path);
        const std::string partial = path + ".partial";
        if (detail::operating_system::is_directory(path)) {
            return error{errc::not_a_file, detail::sentence({path, ": is a directory, not a file"})};
        }
        auto written = detail::guarded([&] { return write_and_rename(partial, path); });
        if (!written) { // whatever happened
            detail::operating_system::remove(partial);
            return failed(written);
        }
        return file_size();
    }
    [[nodiscard]] result<void> write_and_rename(const std::string& partial, const std::string& path) const {
        auto written = write_partial(partial);
        if (written) {
            if (const int code = detail::operating_system::rename(partial, path)) {
                return error{errc::io_error, detail::sentence({path, ": ", partial, " cannot be renamed to it: ",
                                                               detail::operating_system::message(code)})};
            }
        }
        return written;
    }

    /// Header, metadata and tensor list, padded up to the data.
    [[nodiscard]] detail::growing_bytes header() const {
        detail::growing_bytes out(options_.memory);
        const auto put_into = [&](const auto& value) { out.append(std::as_bytes(std::span(&value, 1))); };
        const auto put_text = [&](std::string_view text) {
            out.append(std::as_bytes(std::span(text.data(), text.size())));
        };
        put_text("GGUF");
        put_into(options_.version);
        put_into(std::uint64_t{tensors_.size()});
        put_into(std::uint64_t{keys_.size()});
        out.append(metadata_.bytes());
        for (const entry& tensor : tensors_) {
            put_into(std::uint64_t{tensor.name.size()});
            put_text(tensor.name);
            put_into(static_cast<std::uint32_t>(tensor.dims.size()));
            out.append(std::as_bytes(std::span(tensor.dims)));
            put_into(static_cast<std::uint32_t>(detail::file_id(tensor.type)));
            put_into(tensor.offset);
        }
        if (out.ran_out()) {
            return out;
        }
        const std::vector<std::byte> padding(detail::to_size(data_offset() - out.bytes().size()));
        out.append(padding);
        return out;
    }

    [[nodiscard]] result<void> write_partial(const std::string& partial) const {
        auto file = detail::file_handle::create(partial);
        if (!file) {
            return failed(file);
        }
        auto written = write_steps(*file);
        auto closed = file->close(); // before the caller removes or renames it: Windows insists
        return written ? std::move(closed) : std::move(written);
    }

    [[nodiscard]] result<void> write_steps(detail::file_handle& file) const {
        auto step = buffer<std::byte>::allocate_uninitialized(step_bytes, file.path());
        if (!step) {
            return failed(step);
        }
        step_writer steps{file, step->span()};
        auto written = write_all([&](std::span<const std::byte> bytes) { return steps.write(bytes); }, file.path());
        return written ? steps.finish() : written;
    }

    template <class Sink> [[nodiscard]] result<void> write_all(const Sink& sink, std::string_view target) const {
        const detail::growing_bytes start = header();
        if (start.ran_out()) {
            return error{errc::out_of_memory,
                         detail::sentence({target, ": a header of ", data_offset(), " bytes could not be allocated"})};
        }
        if (auto written = sink(start.bytes()); !written) {
            return written;
        }
        auto chunk = buffer<std::byte>::allocate(chunk_bytes, target);
        if (!chunk) {
            return failed(chunk);
        }
        for (const entry& tensor : tensors_) {
            if (auto written = write_tensor(sink, tensor, chunk->span(), target); !written) {
                return written;
            }
        }
        return {};
    }

    template <class Sink>
    [[nodiscard]] result<void> write_tensor(const Sink& sink, const entry& tensor, std::span<std::byte> chunk,
                                            std::string_view target) const {
        if (tensor.generator.read == nullptr) {
            if (auto written = sink(tensor.bytes); !written) {
                return written;
            }
        } else if (auto written = write_generated(sink, tensor, chunk, target); !written) {
            return written;
        }
        const std::uint64_t end = tensor.offset + tensor.size;
        const auto padding = chunk.first(detail::to_size(*detail::checked_align(end, options_.alignment) - end));
        std::fill(padding.begin(), padding.end(), std::byte{0});
        return sink(padding);
    }

    template <class Sink>
    [[nodiscard]] result<void> write_generated(const Sink& sink, const entry& tensor, std::span<std::byte> chunk,
                                               std::string_view target) const {
        for (std::uint64_t offset = 0; offset < tensor.size; offset += chunk.size()) {
            const auto size = detail::to_size(std::min<std::uint64_t>(chunk.size(), tensor.size - offset));
            if (!tensor.generator.read(tensor.generator.context, offset, chunk.first(size))) {
                return error{errc::io_error, detail::sentence({target, ": tensor ", detail::quoted{tensor.name},
                                                               ": its generator could not give ", size,
                                                               " bytes at offset ", offset, " of ", tensor.size})};
            }
            if (auto written = sink(chunk.first(size)); !written) {
                return written;
            }
        }
        return {};
    }

    // A quarter of what 64 bits hold, so that sums with a header cannot overflow.
    static constexpr std::uint64_t largest_data = std::uint64_t{1} << 62;
    // At least as large as the largest padding.
    static constexpr std::size_t chunk_bytes = std::size_t{1} << 20;

    gguf_writer_options options_;
    detail::growing_bytes metadata_;
    std::vector<std::string> keys_;
    std::vector<entry> tensors_;
    std::uint64_t data_size_ = 0;
    error failure_;
    bool failed_ = false;
};

} // namespace bitnet::inline BITNET_ABI

#endif
