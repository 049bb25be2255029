// SPDX-License-Identifier: MIT
// Fuzzes what restore() takes: raw bytes, changed saves, and changed saves whose checksums are right again.
#include "../golden/tiny_model_writer.hpp"

#include <bitnet/core/checksum.hpp>
#include <bitnet/run/conversation.hpp>
#include <bitnet/run/dispatch.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/session.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using bytes_of_save = std::vector<std::byte>;
using plain = bitnet::policy<bitnet::isa::scalar>::with_kv<std::int8_t>;

void require(bool holds) {
    if (!holds) {
        __builtin_trap();
    }
}

/// A model, a session with a page of keys and values, a token that has not run and a queue, a conversation in the
/// middle of its second answer, and saves of them.
struct world {
    bitnet::buffer<std::byte> file;
    bitnet::any_model model;
    bitnet::any_session session;
    bitnet::sampler choose;
    bitnet::conversation talk;
    bytes_of_save saves[2]; ///< with keys and values, and without
    bytes_of_save of_sampler;
    bytes_of_save of_talk[2];

    static world make() {
        bitnet_tests::model_shape shape;
        shape.heads = 16;
        shape.head_dim = 8;
        shape.context = 200;
        auto file = *bitnet_tests::tiny_model(shape);
        auto model = *bitnet::any_model::open<bitnet::ladder<plain>>(bitnet::byte_source::borrow(file.span(), "fuzz"));
        auto session = *bitnet::any_session::open(
            model, {.context = 32, .threads = 1, .stop_at_stop_tokens = false, .pooling = bitnet::pooling_type::mean});
        auto choose = *bitnet::sampler::open({.repeat_penalty = 1.1f, .penalty_window = 4}, 298);
        constexpr std::string_view stops[] = {"zzzz"};
        auto talk = *bitnet::conversation::open(model, {.system = "Be short.",
                                                        .session = {.threads = 1},
                                                        .sampling = bitnet::sampler_options{.repeat_penalty = 1.1f},
                                                        .chat_format = "bitnet",
                                                        .stop_texts = stops,
                                                        .answer_limit = 6});
        const bitnet::token ids[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
        require(session.feed(ids).has_value());
        require(session.next(choose).has_value());
        require(session.queue(std::span(ids).first(3)).has_value());
        require(talk.say("Who?").has_value() && talk.answer([](std::string_view) {}).has_value());
        require(talk.say("Why?", "Be").has_value());
        while (talk.answer_tokens() < 2 && talk.state() != bitnet::conversation_state::idle) {
            require(talk.step(std::chrono::nanoseconds(1)).has_value());
        }
        world made{
            std::move(file), std::move(model), std::move(session), std::move(choose), std::move(talk), {}, {}, {}};
        require(made.session.save(made.saves[0]).has_value());
        require(made.session.save(made.saves[1], {.keys_and_values = false}).has_value());
        require(made.choose.save(made.of_sampler).has_value());
        require(made.talk.save(made.of_talk[0]).has_value());
        require(made.talk.save(made.of_talk[1], {.keys_and_values = false}).has_value());
        return made;
    }
};

world& here() {
    static world made = world::make();
    return made;
}

template <class T> T number_at(const bytes_of_save& save, std::size_t at) {
    T value{};
    if (at + sizeof value <= save.size()) {
        std::memcpy(&value, save.data() + at, sizeof value);
    }
    return value;
}

/// Writes the checksum of [begin, end) behind it. \return it
std::uint64_t seal(bytes_of_save& save, std::size_t begin, std::size_t end, std::uint64_t seed) {
    if (begin > end || end + 8 > save.size()) {
        return 0;
    }
    const std::uint64_t sum = bitnet::detail::checksum::of(std::span(save).subspan(begin, end - begin), seed);
    std::memcpy(save.data() + end, &sum, sizeof sum);
    return sum;
}

/// Makes all checksums right, as far as the changed header still tells where they are. The size, too, if asked for.
void repair(bytes_of_save& save, bool sizes_too) {
    if (sizes_too && save.size() >= 24) {
        const std::uint64_t size = save.size();
        std::memcpy(save.data() + 16, &size, sizeof size);
    }
    const std::uint64_t of_header = seal(save, 0, 128, 0);
    const std::uint64_t tokens = (std::min)(number_at<std::uint64_t>(save, 104), std::uint64_t{1} << 20);
    const std::uint64_t queued = (std::min)(number_at<std::uint64_t>(save, 112), tokens);
    const auto flags = number_at<std::uint32_t>(save, 12);
    const std::uint64_t cached = tokens - queued - (flags & 2 ? 1 : 0);
    const std::uint64_t floats = (flags & 1 ? 128 : 0) + (cached != 0 ? 128 : 0);
    const std::size_t end = 136 + static_cast<std::size_t>(4 * (tokens + floats));
    const std::uint64_t seed = seal(save, 136, end, of_header);
    if (cached != 0 && save.size() >= 8) {
        seal(save, end + 8, save.size() - 8, seed);
    }
}

/// The same for a conversation: its sampler and its session, where its header says that they are, and its dialog.
void repair_conversation(bytes_of_save& save) {
    constexpr std::size_t header = 48;
    const std::uint64_t dialog = number_at<std::uint64_t>(save, 16);
    const std::uint64_t sampler = number_at<std::uint64_t>(save, 24);
    if (save.size() < header || dialog > save.size() - header || sampler > save.size() - header - dialog) {
        return;
    }
    const auto end_of_dialog = save.begin() + static_cast<std::ptrdiff_t>(header + dialog);
    const auto end_of_sampler = end_of_dialog + static_cast<std::ptrdiff_t>(sampler);
    bytes_of_save part(end_of_dialog, end_of_sampler);
    if (part.size() >= 8) {
        seal(part, 0, part.size() - 8, 0);
        std::copy(part.begin(), part.end(), end_of_dialog);
    }
    part.assign(end_of_sampler, save.end());
    repair(part, false);
    std::copy(part.begin(), part.end(), end_of_sampler);
    bitnet::detail::checksum sum;
    sum.add(std::span(save).first(40));
    sum.add(std::span(save).subspan(header, static_cast<std::size_t>(dialog)));
    const std::uint64_t value = sum.value();
    std::memcpy(save.data() + 40, &value, sizeof value);
}

/// Changes bytes as pairs of place and value say, and cuts or lengthens the end.
/// \param header how many bytes at the front are changed most
bytes_of_save changed(bytes_of_save save, std::span<const std::uint8_t> input, std::size_t header = 144) {
    for (; input.size() >= 4; input = input.subspan(4)) {
        const std::size_t at = input[0] | std::size_t{input[1]} << 8;
        if (input[2] == 255) {
            save.resize(at % (save.size() + 40));
        } else if (!save.empty()) { // mostly the numbers of the header
            save[at % (input[2] & 1 ? save.size() : (std::min)(save.size(), header))] =
                static_cast<std::byte>(input[3]);
        }
    }
    return save;
}

/// A session that takes a save goes on; one that does not is what it was.
void check_session(std::span<const std::byte> save, bool is_known_bad, bool goes_on) {
    world& w = here();
    require(w.session.restore(w.saves[0]).has_value());
    const auto done = w.session.restore(save);
    if (done) {
        require(!is_known_bad);
        require(w.session.position() + w.session.queued() <= w.session.context());
        if (goes_on) {
            static_cast<void>(w.session.next(w.choose));
            static_cast<void>(w.session.embedding());
        }
    } else {
        require(!done.error().message.empty() && done.error().message.size() <= 1000);
        static bytes_of_save again;
        again.clear();
        require(w.session.save(again).has_value());
        require(again == w.saves[0]);
    }
}

/// The same of a conversation.
void check_conversation(std::span<const std::byte> save, bool is_known_bad, bool goes_on) {
    world& w = here();
    require(w.talk.restore(w.of_talk[0]).has_value());
    const auto done = w.talk.restore(save);
    if (done) {
        require(!is_known_bad);
        require(w.talk.position() <= w.talk.context());
        if (goes_on) {
            static_cast<void>(w.talk.answer([](std::string_view) {}));
            static_cast<void>(w.talk.say("And?"));
            static_cast<void>(w.talk.regenerate());
            static_cast<void>(w.talk.rewind(1));
        }
    } else {
        require(!done.error().message.empty() && done.error().message.size() <= 1000);
        static bytes_of_save again;
        again.clear();
        require(w.talk.save(again).has_value());
        require(again == w.of_talk[0]);
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    world& w = here();
    const std::span<const std::uint8_t> input(data + 1, size - 1);
    const auto& good = w.saves[data[0] >> 4 & 1];
    switch (data[0] % 6) {
    case 0: {
        const auto raw = std::as_bytes(input);
        check_session(raw, false, true);
        static_cast<void>(w.choose.restore(raw));
        check_conversation(raw, false, true);
        break;
    }
    case 1: {
        const auto save = changed(good, input);
        check_session(save, save != good, false);
        break;
    }
    case 2: {
        auto save = changed(good, input);
        repair(save, (data[0] & 32) != 0);
        check_session(save, false, (data[0] & 64) != 0);
        break;
    }
    case 3: {
        const auto& talk = w.of_talk[data[0] >> 4 & 1];
        const auto save = changed(talk, input);
        check_conversation(save, save != talk, false);
        break;
    }
    case 4: {
        auto save = changed(w.of_talk[data[0] >> 4 & 1], input, 600); // all of the dialog
        repair_conversation(save);
        check_conversation(save, false, (data[0] & 64) != 0);
        break;
    }
    default: {
        auto save = changed(w.of_sampler, input);
        if ((data[0] & 32) != 0 && save.size() >= 8) {
            seal(save, 0, save.size() - 8, 0);
        } else if (save != w.of_sampler) {
            require(!w.choose.restore(save).has_value());
        }
        static_cast<void>(w.choose.restore(save));
        std::vector<float> logits(298, 0.5f);
        require(w.choose.choose(logits) < 298);
        break;
    }
    }
    return 0;
}
