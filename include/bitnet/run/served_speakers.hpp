// SPDX-License-Identifier: MIT
// served_speakers: who is served by a scheduler: places for speakers, and whose turn it was when.
#ifndef BITNET_RUN_SERVED_SPEAKERS_HPP
#define BITNET_RUN_SERVED_SPEAKERS_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/run/served_speaker.hpp>
#include <bitnet/run/session_core.hpp>
#include <bitnet/run/speaker.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// Allocates in open() only. A speaker keeps its place until it is removed.
class served_speakers {
public:
    /// \return errc::out_of_memory
    [[nodiscard]] result<void> open(std::size_t most, const memory_from& from) {
        error failure;
        allocate(places_, most, "scheduler", failure, from);
        return failure.code == errc{} ? result<void>{} : failure;
    }

    /// All of them, free ones too.
    [[nodiscard]] std::span<served_speaker> places() noexcept { return places_.span(); }
    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    /// Null where it is not served.
    [[nodiscard]] served_speaker* find(const speaker& who) noexcept {
        const auto found = std::find_if(places().begin(), places().end(),
                                        [&](const served_speaker& each) noexcept { return each.who == &who; });
        return found != places().end() ? &*found : nullptr;
    }
    [[nodiscard]] bool has_work() const noexcept {
        return std::any_of(places_.span().begin(), places_.span().end(),
                           [](const served_speaker& each) noexcept { return each.has_work(); });
    }
    /// Whether a session of the pass is not as it was when the pass began.
    [[nodiscard]] bool has_changed() const noexcept {
        return std::any_of(places_.span().begin(), places_.span().end(),
                           [](const served_speaker& each) noexcept { return each.is_in_pass && each.has_changed(); });
    }

    /// \param parameters of the model that is run \return errc::invalid_argument
    [[nodiscard]] result<void> add(speaker& who, int priority, const hyper_parameters& parameters) {
        auto& session = static_cast<session_core&>(who.session().base()); // there is no other session_base
        if (!session.is_of(parameters)) {
            return error{errc::invalid_argument, "scheduler: the speaker's session is one of another model"};
        }
        served_speaker* place = nullptr;
        for (served_speaker& each : places()) {
            if (each.who == &who || each.session == &session) {
                return error{errc::invalid_argument, "scheduler: the speaker or its session is served already"};
            }
            place = place == nullptr && each.who == nullptr ? &each : place;
        }
        if (place == nullptr) {
            return error{errc::invalid_argument, sentence({"scheduler: ", count_,
                                                           " speakers are served, and "
                                                           "scheduler_options::speakers makes room for no more"})};
        }
        *place = {};
        place->who = &who;
        place->session = &session;
        place->priority = priority;
        place->last_turn = next_turn();
        ++count_;
        return {};
    }
    /// Its place is free.
    void remove(served_speaker& each) noexcept {
        each = {};
        --count_;
    }

    /// A number higher than all before: one for each addition, and for each part of a pass.
    [[nodiscard]] std::uint64_t next_turn() noexcept { return ++turns_; }

private:
    buffer<served_speaker> places_;
    std::size_t count_ = 0;
    std::uint64_t turns_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
