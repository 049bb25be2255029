// SPDX-License-Identifier: MIT
// model<P>: a model in one policy, chosen at compile time.
#ifndef BITNET_RUN_MODEL_HPP
#define BITNET_RUN_MODEL_HPP

#include <bitnet/checkpoint/model_file.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/progress_meter.hpp>
#include <bitnet/model/lm_head_screen.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/policy.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/run/files_part.hpp>
#include <bitnet/run/model_core.hpp>
#include <bitnet/run/open_options.hpp>

#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// An any_model of policy P and no other: what P does not name is not compiled.
template <policy_type P> class model : public any_model {
public:
    using policy = P;

    /// As any_model::open. \return errc::unsupported_cpu if P::isa is not available here.
    [[nodiscard]] static result<model> open(std::string_view utf8_path, const open_options& options = {}) {
        detail::progress_meter progress(options.progress);
        auto source = detail::files_part<>::open(utf8_path, detail::checkpoint_options_of(options, progress));
        return source ? open(*std::move(source), options, progress) : failed(source);
    }
    [[nodiscard]] static result<model> open(byte_source source, const open_options& options = {}) {
        auto file = detail::files_part<>::open(std::move(source), options.memory);
        return file ? open(*std::move(file), options) : failed(file);
    }
    [[nodiscard]] static result<model> open(model_file source, const open_options& options = {}) {
        detail::progress_meter progress(options.progress);
        return open(std::move(source), options, progress);
    }

    [[nodiscard]] const detail::weights& tensors() const noexcept { return parts().tensors; }
    /// \pre head_screen() == screen_state::ready
    [[nodiscard]] const detail::lm_head_screen& screen() const noexcept { return parts().screen.get(); }

private:
    [[nodiscard]] static result<model> open(model_file source, const open_options& options,
                                            detail::progress_meter& progress) {
        auto opened = detail::model_core::open(engine_of<P>::tables, std::move(source), options, progress);
        return opened ? result<model>(model(*std::move(opened))) : failed(opened);
    }

    explicit model(std::unique_ptr<const detail::model_base> base) noexcept : any_model(std::move(base)) {}

    [[nodiscard]] detail::model_parts parts() const noexcept {
        return static_cast<const detail::model_core&>(base()).parts();
    }
};

} // namespace bitnet::inline BITNET_ABI

#endif
