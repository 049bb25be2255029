// SPDX-License-Identifier: MIT
// checkpoint_converter: writes a model as a GGUF file, its ternary tensors and its head in the types asked for.
#ifndef BITNET_CONVERT_CHECKPOINT_CONVERTER_HPP
#define BITNET_CONVERT_CHECKPOINT_CONVERTER_HPP

#include <bitnet/checkpoint/block_rows.hpp>
#include <bitnet/checkpoint/float_tensor.hpp>
#include <bitnet/checkpoint/hyper_parameter_reader.hpp>
#include <bitnet/checkpoint/shard.hpp>
#include <bitnet/checkpoint/ternary_rows.hpp>
#include <bitnet/convert/metadata_edit.hpp>
#include <bitnet/convert/permuted_rows.hpp>
#include <bitnet/convert/quantized_rows.hpp>
#include <bitnet/convert/ternary_encoding.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/quantized_block.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_writer.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/model/lm_head_screen.hpp>
#include <bitnet/simd/screen.hpp>
#include <bitnet/text/control_spelling.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Told after every piece that was written: bytes of tensors so far and in all. Stops the conversion by returning
/// false.
struct conversion_progress {
    bool (*report)(void* context, std::uint64_t done, std::uint64_t total) noexcept = nullptr;
    void* context = nullptr;
};

struct conversion_options {
    /// The name of one of ternary_encodings.
    std::string_view layout = "i2_s";
    /// "f16", "q8_0" or "q6_k": the type of the embedding and the head. "screened": as stored, and a screen beside it
    /// for lm_head_mode::screened. Empty: as stored.
    std::string_view head = {};
    /// What the source does not tell of its ternary tensors.
    ternary_reading reading = {};
    /// Entries that are set, in place of the source's or after them. Must outlive the converter.
    std::span<const metadata_edit> edits = {};
    conversion_progress progress = {};
};

/// What was written.
struct conversion_statistics {
    std::size_t ternary_tensors = 0; ///< read as codes and encoded
    std::size_t copied_tensors = 0;  ///< byte by byte
    std::size_t other_tensors = 0;   ///< norms, embeddings and heads that changed their type
    std::size_t scale_tensors = 0;   ///< added, for scales that the layout cannot hold
    std::size_t repaired_tokens = 0; ///< control tokens whose spelling had BOS before or EOS after them
};

/// A copy of a model as a GGUF file: ternary tensors in one layout with the very codes and scales that model<P> would
/// run, norms in F32, the embedding and head as asked for, all other tensors and metadata as they are. Scales of blocks
/// stay what they are: where the layout has one scale for more columns, or for the whole matrix, theirs must be equal.
/// An embedding and a head with such scales are written in the layout, too, if it has them. Layouts of this
/// library have tensor types of their own, which hold the layout's version: other programs refuse them.
///
/// Control tokens that the source spells with BOS before or EOS after them are written without it.
/// Rows of the query and key that a llama checkpoint holds unpermuted (metadata bitnet_hpp.rotary) are permuted as GGUF
/// files of that architecture have them.
///
/// Borrows the file, the pool and the options' memory, which must outlive it. Memory: the largest ternary tensor in its
/// new layout, 8 MiB for other tensors, and 32 bytes for each thread and column.
class checkpoint_converter {
public:
    /// \return errc::invalid_argument for an unknown layout or head; wrong_layout where the layout does not admit the
    /// shape of a tensor; unsupported_type; bad_scale; out_of_memory: each names the tensor.
    [[nodiscard]] static result<std::unique_ptr<checkpoint_converter>>
    open(const gguf_file& file, const conversion_options& options, pool_ref pool) {
        return detail::guarded([&] { return prepare(file, options, pool); });
    }

    /// Bytes of the file to be written.
    [[nodiscard]] std::uint64_t file_size() const noexcept { return writer_.file_size(); }

    /// \return as gguf_writer::write_file; errc::bad_code, naming the tensor and the row that is not ternary;
    /// out_of_range for a head's value that its new type cannot hold; cancelled.
    [[nodiscard]] result<std::uint64_t> write_file(std::string_view utf8_path) {
        done_bytes_ = 0;
        return first_failure(writer_.write_file(utf8_path));
    }
    /// The whole file in memory. \return as write_file, but for the disk's errors.
    [[nodiscard]] result<buffer<std::byte>> write_memory() {
        done_bytes_ = 0;
        return first_failure(writer_.write_memory());
    }

    [[nodiscard]] const conversion_statistics& statistics() const noexcept { return statistics_; }

private:
    static constexpr std::size_t window_floats = std::size_t{1} << 20;
    static constexpr std::size_t tail_bytes = 32;
    static constexpr std::size_t rows_together = 32; ///< a multiple of the row_group of every encoding

    /// One tensor to be written, a window of rows at a time.
    struct piece {
        enum class action { copy, ternary, blocks, floats, screen, scale };

        checkpoint_converter* self;
        action what;
        const gguf_tensor* tensor;
        tensor_type to;
        std::uint64_t size = 0; ///< bytes to be written
        float scale = 1;
        detail::permuted_rows order = {};

        [[nodiscard]] std::size_t rows() const noexcept {
            return detail::to_size(tensor->dims[1] * tensor->dims[2] * tensor->dims[3]);
        }
        [[nodiscard]] std::size_t cols() const noexcept { return detail::to_size(tensor->dims[0]); }
        [[nodiscard]] std::uint64_t row_bytes() const noexcept { return size / rows(); } ///< not of ternary ones

        static bool read(void* context, std::uint64_t offset, std::span<std::byte> out) {
            auto& wanted = *static_cast<piece*>(context);
            return wanted.self->read(wanted, offset, out);
        }
    };

    checkpoint_converter(const gguf_file& file, const conversion_options& options, pool_ref pool)
        : file_(file), options_(options), pool_(pool), writer_({3, std::max<std::uint32_t>(file.alignment(), 32)}) {}

    [[nodiscard]] static result<std::unique_ptr<checkpoint_converter>>
    prepare(const gguf_file& file, const conversion_options& options, pool_ref pool) {
        std::unique_ptr<checkpoint_converter> made(new (std::nothrow) checkpoint_converter(file, options, pool));
        if (made == nullptr) {
            return error{errc::out_of_memory, file.name() + ": " + std::to_string(sizeof(checkpoint_converter)) +
                                                  " bytes could not be allocated"};
        }
        auto parameters = hyper_parameters::read(file);
        if (!parameters) {
            return failed(parameters);
        }
        made->parameters_ = *std::move(parameters);
        for (const auto step : {&checkpoint_converter::choose, &checkpoint_converter::add_metadata,
                                &checkpoint_converter::add_tensors, &checkpoint_converter::allocate}) {
            if (auto done = (*made.*step)(); !done) {
                return failed(done);
            }
        }
        return made;
    }

    [[nodiscard]] result<void> choose() {
        encoding_ = find_ternary_encoding(options_.layout);
        if (encoding_ == nullptr) {
            return error{errc::invalid_argument, "there is no layout " + detail::quoted_name(options_.layout)};
        }
        if (options_.head == "f16") {
            head_type_ = tensor_type::f16;
        } else if (options_.head == "q8_0") {
            head_type_ = tensor_type::q8_0;
        } else if (options_.head == "q6_k") {
            head_type_ = tensor_type::q6_k;
        } else if (!options_.head.empty() && options_.head != "screened") {
            return error{errc::invalid_argument, "there is no head " + detail::quoted_name(options_.head) +
                                                     ": f16, q8_0, q6_k and screened are known"};
        }
        return {};
    }

    /// All entries but those that only tell how this source is read; control tokens spelled as they are meant.
    [[nodiscard]] result<void> add_metadata() {
        for (const gguf_value& entry : file_.metadata()) {
            if (entry.key == "general.alignment" || entry.key.starts_with("bitnet_hpp.") ||
                detail::is_shard_key(entry.key)) {
                continue; // the writer's own; and what only told how to read the source
            }
            if (const auto edit = std::find_if(options_.edits.begin(), options_.edits.end(),
                                               [&](const metadata_edit& each) { return each.key() == entry.key; });
                edit != options_.edits.end()) {
                edit->add_to(writer_);
            } else if (entry.key == "general.file_type") {
                writer_.add(entry.key, encoding_->file_type);
            } else if (entry.key == "tokenizer.ggml.tokens" && add_repaired_tokens(entry)) {
                continue;
            } else {
                writer_.add(entry);
            }
        }
        constexpr std::string_view file_type = "general.file_type";
        if (file_.find(file_type) == nullptr &&
            std::none_of(options_.edits.begin(), options_.edits.end(),
                         [&](const metadata_edit& each) { return each.key() == file_type; })) {
            writer_.add(file_type, encoding_->file_type);
        }
        for (const metadata_edit& edit : options_.edits) {
            if (file_.find(edit.key()) == nullptr) {
                edit.add_to(writer_);
            }
        }
        return {};
    }

    /// \return whether it was needed
    [[nodiscard]] bool add_repaired_tokens(const gguf_value& entry) {
        const auto repaired = detail::repaired_spellings(file_);
        if (repaired.empty()) {
            return false;
        }
        writer_.add_strings(entry.key, repaired);
        std::size_t i = 0;
        for (const std::string_view spelling : entry.strings()) {
            statistics_.repaired_tokens += spelling.size() != repaired[i++].size() ? 1u : 0u;
        }
        return true;
    }

    [[nodiscard]] result<void> add_tensors() {
        for (const gguf_tensor& tensor : file_.tensors()) {
            auto added = is_ternary_place(tensor.name)              ? add_ternary(tensor)
                         : detail::is_scale_of_ternary(tensor.name) ? result<void>{} // added with its tensor
                         : is_ternary_head(tensor)                  ? add_blocks(tensor)
                         : is_head(tensor.name)                     ? add_head(tensor)
                         : detail::is_screen(tensor.name)           ? result<void>{} // made again where it is asked for
                         : tensor.type == tensor_type::bf16         ? add_floats(tensor, tensor_type::f32)
                                                                    : add_copy(tensor);
            if (!added) {
                return added;
            }
        }
        return {};
    }

    [[nodiscard]] static bool is_head(std::string_view name) noexcept {
        return name == "token_embd.weight" || name == "output.weight";
    }
    /// Whether an embedding or head stays ternary.
    [[nodiscard]] bool is_ternary_head(const gguf_tensor& tensor) const noexcept {
        return is_head(tensor.name) && options_.head.empty() && encoding_->has_block_scales &&
               detail::has_block_scales(tensor.type);
    }
    piece& add_piece(piece made, std::string_view name, std::span<const std::uint64_t> dims) {
        tensor_dims all{1, 1, 1, 1};
        std::copy(dims.begin(), dims.end(), all.begin());
        made.size = detail::fits_blocks(made.to, all) ? detail::tensor_bytes(made.to, all).value_or(0) : 0;
        pieces_.push_back(made);
        writer_.add_tensor(name, pieces_.back().to, dims, read_callback{&piece::read, &pieces_.back()});
        total_bytes_ += pieces_.back().size;
        return pieces_.back();
    }
    [[nodiscard]] static std::span<const std::uint64_t> dims_of(const gguf_tensor& tensor) noexcept {
        return std::span(tensor.dims).first(tensor.rank);
    }

    [[nodiscard]] result<void> add_copy(const gguf_tensor& tensor) {
        add_piece({this, piece::action::copy, &tensor, tensor.type}, tensor.name, dims_of(tensor));
        ++statistics_.copied_tensors;
        return {};
    }

    [[nodiscard]] result<void> add_floats(const gguf_tensor& tensor, tensor_type to) {
        if (tensor.type == to) {
            return add_copy(tensor);
        }
        const bool is_widened = detail::float_element_of(tensor.type) || detail::has_block_scales(tensor.type);
        if (!is_widened || !detail::fits_blocks(to, tensor.dims)) {
            return error{errc::unsupported_type, file_.name() + ": tensor " + detail::quoted_name(tensor.name) + ": " +
                                                     std::string(name_of(tensor.type)) + " " + dims_text(tensor) +
                                                     " in the file, which cannot be written as " +
                                                     std::string(name_of(to))};
        }
        add_piece({this, piece::action::floats, &tensor, to}, tensor.name, dims_of(tensor));
        ++statistics_.other_tensors;
        return {};
    }

    [[nodiscard]] result<void> add_head(const gguf_tensor& tensor) {
        auto added = add_floats(tensor, head_type_.value_or(tensor.type));
        const bool is_last = tensor.name == "output.weight" || file_.find_tensor("output.weight") == nullptr;
        return added && is_last && options_.head == "screened" ? add_screen(tensor) : added;
    }

    [[nodiscard]] result<void> add_screen(const gguf_tensor& tensor) {
        const auto element = detail::float_element_of(tensor.type);
        if (!element || !detail::admits_screen(*element)) {
            return error{errc::unsupported_type, file_.name() + ": tensor " + detail::quoted_name(tensor.name) +
                                                     ": type " + std::string(name_of(tensor.type)) +
                                                     " in the file, a screen is for F16, BF16 and F32"};
        }
        const std::uint64_t dims[] = {detail::screen_layout::row_bytes(detail::to_size(tensor.dims[0])),
                                      tensor.dims[1]};
        add_piece({this, piece::action::screen, &tensor, tensor_type::hpp_screen}, detail::screen_name(tensor.name),
                  dims);
        return {};
    }

    [[nodiscard]] result<void> check_admitted(const gguf_tensor& tensor) const {
        if (encoding_->admits(detail::to_size(tensor.dims[1]), detail::to_size(tensor.dims[0]))) {
            return {};
        }
        return error{errc::wrong_layout, file_.name() + ": tensor " + detail::quoted_name(tensor.name) + ": " +
                                             dims_text(tensor) + " in the file, which layout " +
                                             std::string(encoding_->name) + " does not admit"};
    }

    /// The tensor with the scales of its blocks, and the scale beside it if it has one.
    [[nodiscard]] result<void> add_blocks(const gguf_tensor& tensor) {
        if (auto admitted = check_admitted(tensor); !admitted) {
            return admitted;
        }
        const auto beside =
            is_head(tensor.name) ? result<std::optional<float>>(std::nullopt) : detail::find_scale(file_, tensor);
        if (!beside) {
            return failed(beside);
        }
        const auto order = detail::permuted_rows::of(parameters_, tensor);
        add_piece({this, piece::action::blocks, &tensor, encoding_->type, 0, 1, order}, tensor.name, dims_of(tensor));
        ++statistics_.ternary_tensors;
        if (*beside) {
            add_scale(tensor, **beside);
        }
        return {};
    }
    void add_scale(const gguf_tensor& tensor, float scale) {
        const std::uint64_t one = 1;
        add_piece({this, piece::action::scale, &tensor, tensor_type::f32, 0, scale}, detail::scale_name(tensor.name),
                  {&one, 1});
    }

    /// The tensor with the scale that it has, or, where the layout cannot hold that, with 1 and the scale beside it.
    [[nodiscard]] result<void> add_ternary(const gguf_tensor& tensor) {
        if (tensor.rank == 2 && detail::has_block_scales(tensor.type) && encoding_->has_block_scales) {
            return add_blocks(tensor);
        }
        if (auto admitted = check_admitted(tensor); !admitted) {
            return admitted;
        }
        const auto source = detail::ternary_source::open(file_, tensor, options_.reading, pool_);
        if (!source) {
            return failed(source);
        }
        float own = source->own_scale();
        auto extra = source->scale_beside();
        if (own == 1.0f && extra) {
            own = *std::exchange(extra, std::nullopt);
        }
        if (!encoding_->holds(own)) {
            extra = own * extra.value_or(1.0f);
            own = 1.0f;
            ++statistics_.scale_tensors;
        }
        const auto order = detail::permuted_rows::of(parameters_, tensor);
        add_piece({this, piece::action::ternary, &tensor, encoding_->type, 0, own, order}, tensor.name,
                  dims_of(tensor));
        ++statistics_.ternary_tensors;
        if (extra) {
            add_scale(tensor, *extra);
        }
        return {};
    }

    /// A whole ternary tensor, or a window of the rows of another, and the floats that its rows were.
    [[nodiscard]] result<void> allocate() {
        std::uint64_t window = 0;
        std::uint64_t floats = 0;
        for (const piece& each : pieces_) {
            if (each.what == piece::action::ternary || each.what == piece::action::blocks) {
                window = (std::max)(window, each.size);
            } else if (each.what == piece::action::floats || each.what == piece::action::screen) {
                window = (std::max)(window, window_rows(each) * each.row_bytes());
                floats = std::max<std::uint64_t>(floats, window_rows(each) * each.cols());
            }
        }
        auto bytes = buffer<std::byte>::allocate(window, "converted rows");
        auto widened = buffer<float>::allocate(floats, "rows to be converted");
        if (!bytes || !widened) {
            return bytes ? failed(widened) : failed(bytes);
        }
        window_ = *std::move(bytes);
        floats_ = *std::move(widened);
        return {};
    }

    /// How many rows of a tensor of floats are converted at a time.
    [[nodiscard]] static std::size_t window_rows(const piece& wanted) noexcept {
        return std::clamp<std::size_t>(window_floats / wanted.cols(), 1, wanted.rows());
    }

    /// The next bytes of a tensor; the writer asks in ascending order.
    [[nodiscard]] bool read(piece& wanted, std::uint64_t offset, std::span<std::byte> out) {
        if (wanted.what == piece::action::copy) {
            const auto bytes = wanted.tensor->bytes.subspan(detail::to_size(offset), out.size());
            std::copy(bytes.begin(), bytes.end(), out.data());
        } else if (wanted.what == piece::action::scale) {
            std::memcpy(out.data(), &wanted.scale, sizeof wanted.scale);
        } else if (!read_windows(wanted, offset, out)) {
            return false;
        }
        done_bytes_ += out.size();
        const auto& progress = options_.progress;
        if (progress.report != nullptr && !progress.report(progress.context, done_bytes_, total_bytes_)) {
            failure_ = {errc::cancelled, file_.name() + ": the conversion was stopped after " +
                                             std::to_string(done_bytes_) + " of " + std::to_string(total_bytes_) +
                                             " bytes"};
            return false;
        }
        return true;
    }
    [[nodiscard]] bool read_windows(piece& wanted, std::uint64_t offset, std::span<std::byte> out) {
        while (!out.empty()) {
            if (offset == 0) {
                next_row_ = 0;
                window_end_ = 0;
            }
            if (offset == window_end_ && !(wanted.what == piece::action::ternary  ? convert_codes(wanted)
                                           : wanted.what == piece::action::blocks ? convert_blocks(wanted)
                                                                                  : convert_floats(wanted))) {
                return false;
            }
            const auto size = detail::to_size(std::min<std::uint64_t>(out.size(), window_end_ - offset));
            std::copy_n(window_.data() + (offset - window_begin_), size, out.data());
            offset += size;
            out = out.subspan(size);
        }
        return true;
    }

    /// All rows of a ternary tensor, and after them the scale where the layout has it there.
    [[nodiscard]] bool convert_codes(const piece& wanted) {
        auto* out = reinterpret_cast<std::uint8_t*>(window_.data());
        const bool has_tail = detail::has_ternary_tail(wanted.to);
        const std::size_t group = encoding_->row_group;
        const std::size_t groups = (wanted.rows() + group - 1) / group;
        const auto group_bytes = detail::to_size((wanted.size - (has_tail ? tail_bytes : 0)) / groups);
        const auto encode = [&](std::size_t first, const std::uint8_t* codes, std::size_t stride) noexcept {
            for (std::size_t r = 0; r < rows_together && first + r < wanted.rows(); r += group) {
                encoding_->encode(codes + r * stride, wanted.cols(), stride, wanted.scale,
                                  out + (first + r) / group * group_bytes);
            }
        };
        const auto source = detail::ternary_source::open(file_, *wanted.tensor, options_.reading, pool_);
        if (!source) {
            failure_ = failed(source);
            return false;
        }
        const detail::reordered_rows ordered(source->rows(), wanted.order);
        const detail::any_ternary_rows rows =
            wanted.order.head_size == 0 ? source->rows() : detail::any_ternary_rows(ordered);
        const std::size_t stride = (std::max)(encoding_->stride(wanted.cols()), source->stride(wanted.cols()));
        if (auto done = detail::for_each_rows(pool_, rows, *wanted.tensor, file_.name(), rows_together, stride, encode);
            !done) {
            failure_ = failed(done);
            return false;
        }
        if (has_tail) {
            write_tail(wanted, window_.data() + groups * group_bytes);
        }
        window_begin_ = 0;
        window_end_ = wanted.size;
        return true;
    }

    /// All rows of a tensor whose blocks have scales, as they are, in blocks of the encoding's columns.
    [[nodiscard]] bool convert_blocks(const piece& wanted) {
        const detail::block_rows rows(*wanted.tensor);
        const std::size_t cols = wanted.cols();
        const std::size_t columns = encoding_->block_columns;
        auto codes = buffer<std::uint8_t>::allocate_uninitialized(cols * pool_.threads(), "rows of ternary codes");
        if (!codes) {
            failure_ = failed(codes);
            return false;
        }
        const auto row_bytes = detail::to_size(wanted.row_bytes());
        const std::size_t block_bytes = row_bytes / (cols / columns);
        const auto convert_row = [&](std::size_t row, std::size_t slot) noexcept {
            std::uint8_t* const code = codes->data() + slot * cols;
            auto* out = reinterpret_cast<std::uint8_t*>(window_.data()) + row * row_bytes;
            const std::size_t from = wanted.order[row];
            bool good = rows.read(from, code);
            for (std::size_t col = 0; col < cols && good; col += columns, out += block_bytes) {
                good = rows.has_one_scale(from, col, columns);
                encoding_->encode(code + col, columns, columns, detail::widen(rows.scale(from, col)), out);
            }
            return good;
        };
        if (const std::size_t row = detail::first_bad_row(pool_, wanted.rows(), convert_row); row != wanted.rows()) {
            failure_ = rows.fault(wanted.order[row], columns, name_of(encoding_->type), file_.name());
            return false;
        }
        window_begin_ = 0;
        window_end_ = wanted.size;
        return true;
    }

    /// The scale in 32 bytes; the source's own where it has such, so that nothing is lost on the way there and back.
    static void write_tail(const piece& wanted, std::byte* out) noexcept {
        std::fill_n(out, tail_bytes, std::byte{0});
        if (detail::has_ternary_tail(wanted.tensor->type)) {
            const auto tail = wanted.tensor->bytes.last(tail_bytes);
            std::copy(tail.begin(), tail.end(), out);
        }
        std::memcpy(out, &wanted.scale, sizeof wanted.scale);
    }

    /// The next rows of a tensor of floats or a screen.
    [[nodiscard]] bool convert_floats(const piece& wanted) {
        const std::size_t count = (std::min)(window_rows(wanted), wanted.rows() - next_row_);
        const auto row_bytes = detail::to_size(wanted.row_bytes());
        std::atomic<std::size_t> bad_row{SIZE_MAX};
        detail::parallel_for(pool_, count, [&](std::size_t i) noexcept {
            float* floats = floats_.data() + i * wanted.cols();
            detail::widen_row(*wanted.tensor, next_row_ + i, floats);
            std::byte* out = window_.data() + i * row_bytes;
            if (wanted.what == piece::action::screen) {
                screen_row(floats, wanted.cols(), out);
            } else if (!narrow_row_to(wanted.to, floats, wanted.cols(), out)) {
                detail::keep_lowest(bad_row, next_row_ + i);
            }
        });
        if (const std::size_t row = bad_row.load(std::memory_order_relaxed); row != SIZE_MAX) {
            failure_ = {errc::out_of_range, file_.name() + ": tensor " + detail::quoted_name(wanted.tensor->name) +
                                                ": row " + std::to_string(row) + " of its " +
                                                std::to_string(wanted.rows()) +
                                                " rows holds a value that is not finite or too large for " +
                                                std::string(name_of(wanted.to))};
            return false;
        }
        next_row_ += count;
        window_begin_ = window_end_;
        window_end_ += count * row_bytes;
        return true;
    }

    static void screen_row(const float* row, std::size_t cols, std::byte* out) noexcept {
        const auto widen = [row](std::size_t first, std::size_t count, float* floats) noexcept {
            std::copy_n(row + first, count, floats);
        };
        detail::make_screen_row(cols, widen, [&](const std::byte* piece, std::size_t size) noexcept {
            std::memcpy(out, piece, size);
            out += size;
        });
    }
    [[nodiscard]] static bool narrow_row_to(tensor_type to, const float* x, std::size_t cols, std::byte* out) noexcept {
        switch (to) {
        case tensor_type::f16:
            return detail::narrow_row<half>(x, cols, out);
        case tensor_type::q8_0:
            return detail::narrow_row<detail::q8_0>(x, cols, out);
        case tensor_type::q6_k:
            return detail::narrow_row<detail::q6_k>(x, cols, out);
        default:
            return detail::narrow_row<float>(x, cols, out);
        }
    }

    /// Our own error, which tells more than the writer's "its generator could not give ...".
    template <class T> [[nodiscard]] result<T> first_failure(result<T> written) {
        return failure_.code == errc{} ? std::move(written) : result<T>(std::exchange(failure_, {}));
    }

    const gguf_file& file_;
    conversion_options options_;
    pool_ref pool_;
    gguf_writer writer_;
    hyper_parameters parameters_;
    const ternary_encoding* encoding_ = nullptr;
    std::optional<tensor_type> head_type_;
    std::deque<piece> pieces_;
    conversion_statistics statistics_;
    buffer<float> floats_;           ///< of a window of rows of floats
    buffer<std::byte> window_;       ///< a ternary tensor, or a window of another
    std::size_t next_row_ = 0;       ///< after the window
    std::uint64_t window_begin_ = 0; ///< in bytes of the tensor
    std::uint64_t window_end_ = 0;
    std::uint64_t done_bytes_ = 0;
    std::uint64_t total_bytes_ = 0;
    error failure_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
