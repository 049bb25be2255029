// SPDX-License-Identifier: MIT
// batch<P>: several sessions of one policy stepped together.
#ifndef BITNET_RUN_BATCH_HPP
#define BITNET_RUN_BATCH_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/policy.hpp>
#include <bitnet/run/any_batch.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/session.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/thread/pool.hpp>

#include <utility>

namespace bitnet::inline BITNET_ABI {

/// An any_batch of sessions with a model<P>, whose functions it has.
template <policy_type P> class batch : public any_batch {
public:
    /// As any_batch::open.
    [[nodiscard]] static result<batch> open(const model<P>& opened, const batch_options& options = {}) {
        return made(any_batch::open(opened, options));
    }
    [[nodiscard]] static result<batch> open(const model<P>& opened, pool_ref pool, const batch_options& options = {}) {
        return made(any_batch::open(opened, pool, options));
    }
    static result<batch> open(model<P>&&, const batch_options& = {}) = delete;           // would dangle
    static result<batch> open(model<P>&&, pool_ref, const batch_options& = {}) = delete; // would dangle

private:
    explicit batch(any_batch opened) noexcept : any_batch(std::move(opened)) {}

    [[nodiscard]] static result<batch> made(result<any_batch> opened) {
        return opened ? result<batch>(batch(*std::move(opened))) : failed(opened);
    }
};

} // namespace bitnet::inline BITNET_ABI

#endif
