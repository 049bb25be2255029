// SPDX-License-Identifier: MIT
// Saves that are damaged, cut or foreign, by the thousand: none is taken, and none changes anything. By hand:
//     build/release/tests/test_run -tc="damaged*" --damaged-saves=1000000
#include "golden/tiny_model_writer.hpp"
#include "soak.hpp"

#include <bitnet/core/checksum.hpp>
#include <bitnet/run/conversation.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/session.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;

namespace {

using save = std::vector<std::byte>;

struct dice {
    std::uint64_t state;
    std::uint64_t any() noexcept {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return state ^ (state >> 29);
    }
    std::size_t below(std::size_t n) noexcept { return static_cast<std::size_t>((any() >> 20) % n); }
};

template <class T> T opened(result<T> made) {
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    return *std::move(made);
}

/// A model of its own with a session, a sampler and a conversation, and their saves.
class world {
public:
    static constexpr std::size_t kinds = 3; ///< of what is saved: in the order of the members

    explicit world(const bitnet_tests::model_shape& shape, const open_options& options = {},
                   const sampler_options& choosing = choices(), std::string_view format = "bitnet")
        : file_(opened(bitnet_tests::tiny_model(shape))),
          model_(opened(any_model::open(byte_source::borrow(file_.span(), "small"), options))),
          session_(opened(any_session::open(model_, {.threads = 1, .prompt_chunk = 16, .stop_at_stop_tokens = false}))),
          sampler_(opened(sampler::open(choosing, model_.parameters().vocabulary))),
          talk_(opened(conversation::open(model_, {.system = "Be short.",
                                                   .session = {.threads = 1, .prompt_chunk = 16},
                                                   .sampling = choosing,
                                                   .chat_format = format,
                                                   .answer_limit = 5}))) {}

    [[nodiscard]] static bitnet_tests::model_shape shape() {
        bitnet_tests::model_shape made;
        made.context = 300;
        return made;
    }
    [[nodiscard]] static sampler_options choices() {
        return {.repeat_penalty = 1.1f, .penalty_window = 8, .seed = 3, .dry_multiplier = 0.5f, .dry_window = 6};
    }

    /// Something else happens to all three.
    void go_on(dice& random) {
        session_.reset();
        std::vector<token> ids(1 + random.below(12));
        for (token& id : ids) {
            id = static_cast<token>(random.below(290));
            sampler_.accept(id);
        }
        is_good_ = is_good_ && session_.feed(ids) && session_.next(sampler_) && session_.queue(ids);
        is_good_ = is_good_ && talk_.rewind(talk_.history().size() > 1 ? 1 : talk_.history().size());
        is_good_ = is_good_ && talk_.say(std::to_string(random.any()));
        if (random.below(2) == 0) {
            is_good_ = is_good_ && talk_.answer([](std::string_view) {});
        }
    }
    [[nodiscard]] save saved(std::size_t kind, const save_options& options = {}) {
        save made;
        is_good_ = is_good_ && (kind == 0   ? session_.save(made, options)
                                : kind == 1 ? sampler_.save(made)
                                            : talk_.save(made, options));
        return made;
    }
    [[nodiscard]] result<void> restore(std::size_t kind, std::span<const std::byte> bytes) {
        return kind == 0 ? session_.restore(bytes) : kind == 1 ? sampler_.restore(bytes) : talk_.restore(bytes);
    }
    /// Whether all that was to succeed did.
    [[nodiscard]] bool is_good() const noexcept { return is_good_; }

private:
    buffer<std::byte> file_;
    any_model model_;
    any_session session_;
    sampler sampler_;
    conversation talk_;
    bool is_good_ = true;
};

template <class T> void put(save& bytes, std::size_t at, T value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
}
std::uint64_t number_at(const save& bytes, std::size_t at) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
}

/// Makes the checksums behind a changed header of a session right, of which each is the seed of the next.
/// \pre its parts are as large as before, and it has one page of keys and values or none
void seal_session(save& bytes, std::size_t tokens, bool has_state) {
    const std::span<const std::byte> all(bytes);
    put(bytes, 128, detail::checksum::of(all.first(128)));
    const std::size_t state = has_state ? 4 * world::shape().hidden : 0;
    const std::size_t end = 136 + 4 * tokens + state;
    put(bytes, end, detail::checksum::of(all.subspan(136, end - 136), number_at(bytes, 128)));
    if (const std::size_t page = end + 8; page < bytes.size()) {
        const auto pages = all.subspan(page, bytes.size() - 8 - page);
        put(bytes, bytes.size() - 8, detail::checksum::of(pages, number_at(bytes, end)));
    }
}

/// Makes the checksums of `bytes` right, whose header was changed from that of `original`: what is refused then is not
/// refused because of them.
void seal(std::size_t kind, save& bytes, const save& original) {
    const std::span<const std::byte> all(bytes);
    if (kind == 0) {
        seal_session(bytes, static_cast<std::size_t>(number_at(original, 104)),
                     (original[12] & std::byte{1}) != std::byte{0});
    } else if (kind == 1) {
        put(bytes, bytes.size() - 8, detail::checksum::of(all.first(bytes.size() - 8)));
    } else {
        detail::checksum sum;
        sum.add(all.first(40));
        sum.add(all.subspan(48, static_cast<std::size_t>(number_at(original, 16))));
        put(bytes, 40, sum.value());
    }
}

/// Refuses what it is given, and counts what it did not.
class damage {
public:
    damage() : here_(std::make_unique<world>(world::shape())) {
        auto other = world::shape();
        other.seed = 2; // the same shapes, other weights
        add(other);
        other = world::shape();
        other.epsilon = 2e-5f;
        add(other);
        other = world::shape();
        other.layers = 2;
        add(other);
        other = world::shape();
        other.heads = 4;
        other.head_dim = 32;
        add(other);
        add(world::shape(), {.activations = activation_rounding::per_32});
    }

    void run(int count) {
        for (int i = 0; i < count; ++i) {
            if (i % 512 == 0) {
                begin_anew();
            }
            const std::size_t kind = random_.below(world::kinds);
            const save bytes = made(kind);
            if (bytes == saves_[kind][0] || bytes == saves_[kind][1]) {
                continue; // what was to be changed has the same value by chance
            }
            const auto taken = here_->restore(kind, bytes);
            accepted += taken ? 1u : 0u;
            silent += !taken && taken.error().message.empty() ? 1u : 0u;
            changed += here_->saved(kind) == before_[kind] ? 0u : 1u;
            ++tried;
        }
        CHECK(here_->is_good());
        for (const auto& each : others_) {
            CHECK(each->is_good());
        }
        for (std::size_t kind = 0; kind < world::kinds; ++kind) { // and nothing is wrong with what was damaged
            CHECK(here_->restore(kind, saves_[kind][0]));
            CHECK(here_->restore(kind, saves_[kind][1]));
        }
    }

    std::size_t tried = 0;
    std::size_t accepted = 0;
    std::size_t silent = 0;
    std::size_t changed = 0;

private:
    void add(const bitnet_tests::model_shape& shape, const open_options& options = {}) {
        auto choosing = world::choices();
        choosing.temperature = 0.5f + 0.01f * static_cast<float>(others_.size());
        others_.push_back(std::make_unique<world>(shape, options, choosing, others_.empty() ? "llama3" : "bitnet"));
    }

    /// Other saves to damage, and something else that is to stay as it is.
    void begin_anew() {
        here_->go_on(random_);
        for (std::size_t kind = 0; kind < world::kinds; ++kind) {
            saves_[kind] = {here_->saved(kind), here_->saved(kind, {.keys_and_values = false})};
        }
        here_->go_on(random_);
        for (std::size_t kind = 0; kind < world::kinds; ++kind) {
            before_[kind] = here_->saved(kind);
        }
        for (const auto& each : others_) {
            each->go_on(random_);
        }
    }

    [[nodiscard]] save made(std::size_t kind) {
        save bytes = saves_[kind][random_.below(2)];
        switch (random_.below(8)) {
        case 0:
        case 1:
        case 2:
            bytes[random_.below(bytes.size())] ^= std::byte{1} << random_.below(8);
            return bytes;
        case 3:
        case 4:
            bytes.resize(random_.below(bytes.size()));
            return bytes;
        case 5:
            return overwritten(std::move(bytes));
        case 6:
            return with_another_header(kind, bytes);
        default:
            return foreign(kind);
        }
    }
    [[nodiscard]] save overwritten(save bytes) {
        if (random_.below(4) == 0) { // or longer
            bytes.resize(bytes.size() + 1 + random_.below(40));
            return bytes;
        }
        const std::size_t first = random_.below(bytes.size());
        for (std::size_t i = 0; i < 2 + random_.below(30) && first + i < bytes.size(); ++i) {
            bytes[first + i] = static_cast<std::byte>(random_.below(256));
        }
        return bytes;
    }
    /// Another magic, version, size or model, with the right checksum.
    [[nodiscard]] save with_another_header(std::size_t kind, const save& original) {
        save bytes = original;
        switch (random_.below(3)) {
        case 0:
            bytes[random_.below(8)] = static_cast<std::byte>(random_.below(256));
            break;
        case 1:
            put(bytes, 8, static_cast<std::uint32_t>(2 + random_.below(1000)));
            break;
        default: {
            const std::size_t first = kind == 0 ? 16 : kind == 1 ? 80 : 16;
            const std::size_t numbers = kind == 0 ? 11 : kind == 1 ? 5 : 3;
            const std::size_t at = first + 8 * random_.below(numbers);
            const bool is_near = random_.below(2) == 0;
            put(bytes, at, is_near ? number_at(bytes, at) + 1 + random_.below(9) : random_.any());
        }
        }
        seal(kind, bytes, original);
        return bytes;
    }
    /// Whole, but not of this model, or not of this kind.
    [[nodiscard]] save foreign(std::size_t kind) {
        if (random_.below(4) == 0) {
            return saves_[(kind + 1 + random_.below(2)) % world::kinds][0];
        }
        return others_[random_.below(others_.size())]->saved(kind, {.keys_and_values = random_.below(2) == 0});
    }

    dice random_{5};
    std::unique_ptr<world> here_;
    std::vector<std::unique_ptr<world>> others_;
    std::array<std::array<save, 2>, world::kinds> saves_;
    std::array<save, world::kinds> before_;
};

} // namespace

TEST_CASE("damaged saves, cut ones and those of others: none is taken, and none changes anything") {
    damage all;
    all.run(bitnet_tests::damaged_saves);
    MESSAGE(all.tried << " tried, " << all.accepted << " taken");
    CHECK(all.tried > static_cast<std::size_t>(bitnet_tests::damaged_saves) / 100 * 98);
    CHECK(all.accepted == 0);
    CHECK(all.silent == 0);
    CHECK(all.changed == 0);
}
