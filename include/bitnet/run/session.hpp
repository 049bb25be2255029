// SPDX-License-Identifier: MIT
// session<P>: a conversation with a model of one policy, chosen at compile time.
#ifndef BITNET_RUN_SESSION_HPP
#define BITNET_RUN_SESSION_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/policy.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/thread/pool.hpp>

#include <utility>

namespace bitnet::inline BITNET_ABI {

/// An any_session with a model<P>, whose functions it has.
template <policy_type P> class session : public any_session {
public:
    /// As any_session::open.
    [[nodiscard]] static result<session> open(const model<P>& opened, const session_options& options = {}) {
        return made(any_session::open(opened, options));
    }
    [[nodiscard]] static result<session> open(const model<P>& opened, pool_ref pool,
                                              const session_options& options = {}) {
        return made(any_session::open(opened, pool, options));
    }
    static result<session> open(model<P>&&, const session_options& = {}) = delete;           // would dangle
    static result<session> open(model<P>&&, pool_ref, const session_options& = {}) = delete; // would dangle

private:
    explicit session(any_session opened) noexcept : any_session(std::move(opened)) {}

    [[nodiscard]] static result<session> made(result<any_session> opened) {
        return opened ? result<session>(session(*std::move(opened))) : failed(opened);
    }
};

} // namespace bitnet::inline BITNET_ABI

#endif
