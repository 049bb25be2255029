// SPDX-License-Identifier: MIT
// layout_converter<To>: writes a model file again with its ternary tensors in another layout, to be mapped in place.
#pragma once

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_writer.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/model/ternary_tensor.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// A copy of a model file whose ternary tensors (I2_S or any layout of this library) are in layout `To`, scales and all
/// else as they are. model<P> of a policy with that layout maps it in place; any other one repacks it.
/// A layout of this library has a tensor type of its own, which holds the layout's version: other programs refuse it.
/// Borrows the file and the pool, which must outlive it. Memory: the largest ternary tensor in layout `To`.
template <ternary_layout To, thread_pool_type Pool> class layout_converter {
public:
    /// \param order which I2_S the file's tensors have
    /// \return errc::wrong_layout where `To`, or the order, does not admit the shape of a tensor; out_of_memory.
    [[nodiscard]] static result<std::unique_ptr<layout_converter>> open(const gguf_file& file, i2s_order order,
                                                                        Pool& pool) {
        std::unique_ptr<layout_converter> made(new (std::nothrow) layout_converter(file, order, pool));
        if (made == nullptr) {
            return error{errc::out_of_memory, file.name() + ": " + std::to_string(sizeof(layout_converter)) +
                                                  " bytes could not be allocated"};
        }
        made->add_metadata();
        if (auto added = made->add_tensors(); !added) {
            return std::move(added).error();
        }
        return made;
    }

    /// \return as gguf_writer::write_file; errc::bad_code, naming the tensor and the place of a code 3.
    [[nodiscard]] result<std::uint64_t> write_file(std::string_view utf8_path) {
        return first_failure(writer_.write_file(utf8_path));
    }
    /// The whole file in memory. \return as gguf_writer::write_memory; errc::bad_code.
    [[nodiscard]] result<buffer<std::byte>> write_memory() { return first_failure(writer_.write_memory()); }

    [[nodiscard]] std::size_t converted_tensors() const noexcept { return converted_; }

private:
    static constexpr std::size_t scale_bytes = 32;

    /// What the writer calls back for one tensor.
    struct conversion {
        layout_converter* self = nullptr;
        const gguf_tensor* tensor = nullptr;

        static bool read(void* context, std::uint64_t offset, std::span<std::byte> out) {
            const auto& wanted = *static_cast<const conversion*>(context);
            return wanted.self->read(*wanted.tensor, offset, out);
        }
    };

    layout_converter(const gguf_file& file, i2s_order order, Pool& pool)
        : file_(file), order_(order), pool_(pool), writer_({3, std::max<std::uint32_t>(file.alignment(), 8)}) {}

    void add_metadata() {
        for (const gguf_value& entry : file_.metadata()) {
            if (entry.key != "general.alignment") { // the writer's own
                writer_.add(entry);
            }
        }
    }

    [[nodiscard]] result<void> add_tensors() {
        conversions_.reset(new (std::nothrow) conversion[file_.tensors().size()]);
        if (conversions_ == nullptr) {
            return error{errc::out_of_memory, file_.name() + ": a table of " + std::to_string(file_.tensors().size()) +
                                                  " tensors could not be allocated"};
        }
        std::uint64_t largest = 0;
        for (const gguf_tensor& tensor : file_.tensors()) {
            const auto dims = std::span(tensor.dims).first(tensor.rank);
            const bool ternary = tensor.rank == 2 && with_layout_of(tensor.type, order_, [&]<class From>() {
                                     admitted_ = admitted_ && From::admits(tensor.dims[1], tensor.dims[0]) &&
                                                 To::admits(tensor.dims[1], tensor.dims[0]);
                                 });
            if (!admitted_) {
                return error{errc::wrong_layout, file_.name() + ": tensor " + quoted_name(tensor.name) + ": " +
                                                     dims_text(tensor) + " in the file, which layout " +
                                                     std::string(To::name) + " or the file's order does not admit"};
            }
            if (!ternary) {
                writer_.add_tensor(tensor.name, tensor.type, dims, tensor.bytes);
                continue;
            }
            conversions_[converted_] = {this, &tensor};
            writer_.add_tensor(tensor.name, file_type<To>, dims,
                               read_callback{&conversion::read, &conversions_[converted_]});
            ++converted_;
            largest = std::max(largest, tensor_bytes(file_type<To>, tensor.dims).value_or(0));
        }
        auto memory = buffer<std::byte>::allocate(largest, "a tensor in another layout");
        if (!memory) {
            return std::move(memory).error();
        }
        converted_bytes_ = *std::move(memory);
        return {};
    }

    /// A piece of the converted tensor, which is made when its first piece is asked for.
    bool read(const gguf_tensor& tensor, std::uint64_t offset, std::span<std::byte> out) {
        if (offset == 0 && !convert(tensor)) {
            return false;
        }
        std::memcpy(out.data(), converted_bytes_.data() + offset, out.size());
        return true;
    }

    bool convert(const gguf_tensor& tensor) {
        const auto size = static_cast<std::size_t>(tensor_bytes(file_type<To>, tensor.dims).value_or(0));
        auto* codes = reinterpret_cast<std::uint8_t*>(converted_bytes_.data());
        with_layout_of(tensor.type, order_, [&]<class From>() {
            if (auto done = repack_tensor<To, From>(pool_, tensor, file_.name(), codes); !done) {
                failure_ = std::move(done).error();
            }
        });
        std::memcpy(converted_bytes_.data() + size - scale_bytes, tensor.bytes.last(scale_bytes).data(), scale_bytes);
        return failure_.code == errc{};
    }

    /// Our own error, which tells more than the writer's "its generator could not give ...".
    template <class T> [[nodiscard]] result<T> first_failure(result<T> written) {
        return failure_.code == errc{} ? std::move(written) : result<T>(std::exchange(failure_, {}));
    }

    const gguf_file& file_;
    i2s_order order_;
    Pool& pool_;
    gguf_writer writer_;
    std::unique_ptr<conversion[]> conversions_;
    std::size_t converted_ = 0;
    bool admitted_ = true;
    buffer<std::byte> converted_bytes_;
    error failure_;
};

} // namespace bitnet::inline BITNET_ABI
